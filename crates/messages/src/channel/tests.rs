use super::*;
use crate::router::RouterRequest;

const NOW: UnixMillis = UnixMillis(1_000);

fn outbox(limits: ChannelLimits) -> Outbox<u32> {
    Outbox::new(Address::Sessions(0), 7, UnixMillis(500), limits)
}

fn route(topic: &str) -> Request {
    Request::Router(RouterRequest::Route { node: String::new(), topic: topic.into() })
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

fn sender(instance: u64, number: u64) -> Sender {
    Sender { address: Address::Router(0), epoch: 0, instance, number }
}

#[test]
fn a_repeat_gets_the_answer_of_the_first_time_and_an_older_call_none() {
    let mut inbox = Inbox::default();
    let reply = |number| BatchReply { epoch: number, replies: vec![Reply::Pending] };
    for (instance, number, expected) in [
        (10, 1, Acceptance::New { is_new_instance: true }),
        (10, 1, Acceptance::Repeat(reply(1))),
        (10, 3, Acceptance::New { is_new_instance: false }),
        (10, 2, Acceptance::Superseded),
        (20, 1, Acceptance::New { is_new_instance: true }),
        (10, 9, Acceptance::Superseded),
    ] {
        let accepted = inbox.accept(&sender(instance, number));
        assert_eq!(accepted, expected, "instance {instance}, number {number}");
        if matches!(accepted, Acceptance::New { .. }) {
            inbox.remember(&sender(instance, number), &reply(number));
        }
    }
}

#[test]
fn an_inbox_with_stored_instances_takes_nothing_from_earlier_ones() {
    let inbox = Inbox::restore([(Address::Router(0), 10, 0)]);
    assert_eq!(inbox.accept(&sender(9, 99)), Acceptance::Superseded);
    assert_eq!(inbox.accept(&sender(10, 5)), Acceptance::New { is_new_instance: false });
}

#[test]
fn the_inbox_does_not_grow_with_the_fleet() {
    let mut inbox = Inbox::default();
    for shard in 0..20_000 {
        let sender = Sender { address: Address::Router(shard), epoch: 0, instance: 1, number: 1 };
        inbox.remember(&sender, &BatchReply { epoch: 0, replies: Vec::new() });
    }
    assert_eq!(inbox.last.len(), MAXIMUM_SENDERS);
}
