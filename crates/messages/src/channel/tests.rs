use super::*;
use crate::router::RouterRequest;

const NOW: UnixMillis = UnixMillis(1_000);

fn outbox(limits: ChannelLimits) -> Outbox<u32> {
    Outbox::new(Address::Sessions(0), 7, UnixMillis(500), limits)
}

fn route(topic: &str) -> Request {
    Request::Router(RouterRequest::Route { topic: topic.into() })
}

fn applied(count: usize) -> Option<BatchReply> {
    Some(BatchReply { epoch: 0, replies: vec![Reply::Applied; count] })
}

#[test]
fn requests_pushed_during_a_call_leave_together_in_order() {
    let mut outbox = outbox(ChannelLimits::default());
    let target = Address::Router(1);
    outbox.push(target.clone(), route("a"), 1).unwrap();
    let first = outbox.calls(NOW);
    assert_eq!(first.len(), 1);
    outbox.push(target.clone(), route("b"), 2).unwrap();
    outbox.push(target.clone(), route("c"), 3).unwrap();
    assert!(outbox.calls(NOW).is_empty(), "one call in flight per target");
    assert_eq!(outbox.answered(&target, applied(1), NOW), [(1, Ok(Reply::Applied))]);
    let second = outbox.calls(NOW);
    assert_eq!(second[0].batch.requests, [route("b"), route("c")]);
    assert_eq!(outbox.answered(&target, applied(2), NOW).len(), 2);
    assert!(outbox.is_idle());
}

#[test]
fn a_slow_target_holds_back_nobody_else() {
    let mut outbox = outbox(ChannelLimits::default());
    outbox.push(Address::Router(1), route("a"), 1).unwrap();
    assert_eq!(outbox.calls(NOW).len(), 1);
    outbox.push(Address::Router(2), route("b"), 2).unwrap();
    let calls = outbox.calls(NOW);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].target, Address::Router(2));
}

#[test]
fn a_failed_call_goes_again_with_the_same_number_and_doubled_waits() {
    let mut outbox = outbox(ChannelLimits { attempts: 3, retry_millis: 10, ..ChannelLimits::default() });
    let target = Address::Router(1);
    outbox.push(target.clone(), route("a"), 1).unwrap();
    let first = outbox.calls(NOW);
    assert!(outbox.answered(&target, None, NOW).is_empty());
    assert_eq!(outbox.next_retry(), Some(UnixMillis(1_010)));
    assert!(outbox.calls(UnixMillis(1_009)).is_empty());
    assert_eq!(outbox.calls(UnixMillis(1_010)), first, "the repeat is the same batch");
    assert!(outbox.answered(&target, None, UnixMillis(1_010)).is_empty());
    assert_eq!(outbox.next_retry(), Some(UnixMillis(1_030)));
    assert_eq!(outbox.calls(UnixMillis(1_030)), first);
    assert_eq!(outbox.answered(&target, None, UnixMillis(1_030)), [(1, Err(Undelivered::Unreachable))]);
    assert!(outbox.is_idle());
}

#[test]
fn what_waits_behind_a_failing_call_is_not_given_up_with_it() {
    let mut outbox = outbox(ChannelLimits { attempts: 1, ..ChannelLimits::default() });
    let target = Address::Router(1);
    outbox.push(target.clone(), route("a"), 1).unwrap();
    outbox.calls(NOW);
    outbox.push(target.clone(), route("b"), 2).unwrap();
    assert_eq!(outbox.answered(&target, None, NOW), [(1, Err(Undelivered::Unreachable))]);
    assert_eq!(outbox.calls(NOW)[0].batch.requests, [route("b")]);
}

#[test]
fn a_reply_of_another_length_counts_as_a_failure() {
    let mut outbox = outbox(ChannelLimits::default());
    let target = Address::Router(1);
    outbox.push(target.clone(), route("a"), 1).unwrap();
    outbox.calls(NOW);
    assert!(outbox.answered(&target, applied(2), NOW).is_empty());
    assert!(outbox.next_retry().is_some());
}

#[test]
fn a_target_that_is_full_takes_no_more_but_a_large_request_still_travels_alone() {
    let mut outbox = outbox(ChannelLimits { target_bytes: 300, batch_bytes: 100, ..ChannelLimits::default() });
    let target = Address::Router(1);
    outbox.push(target.clone(), route("a"), 1).unwrap();
    outbox.push(target.clone(), route("b"), 2).unwrap();
    assert_eq!(outbox.push(target, route("c"), 3), Err(Full));
    let calls = outbox.calls(NOW);
    assert_eq!(calls[0].batch.requests.len(), 1, "128 bytes are over the batch's 100");
}

#[test]
fn the_inbox_tells_repeats_from_new_batches_and_old_instances() {
    let mut inbox = Inbox::default();
    let batch = |instance, number| Sender { address: Address::Router(0), epoch: 0, instance, number };
    for (instance, number, expected) in [
        (10, 1, Acceptance::New),
        (10, 1, Acceptance::Repeat),
        (10, 3, Acceptance::New),
        (10, 2, Acceptance::Repeat),
        (20, 1, Acceptance::New),
        (10, 9, Acceptance::Repeat),
    ] {
        assert_eq!(inbox.accept(&batch(instance, number)), expected, "instance {instance}, number {number}");
    }
}

#[test]
fn the_inbox_does_not_grow_with_the_fleet() {
    let mut inbox = Inbox::default();
    for shard in 0..20_000 {
        let sender = Sender { address: Address::Router(shard), epoch: 0, instance: 1, number: 1 };
        assert_eq!(inbox.accept(&sender), Acceptance::New);
    }
    assert_eq!(inbox.last.len(), MAXIMUM_SENDERS);
}
