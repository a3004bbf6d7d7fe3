//! Filters on their way into the directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::UnixMillis;
use messages::Reply;
use messages::address::ShardMap;
use messages::channel::Undelivered;
use messages::router::{Mark, RouterRequest};
use routing::{Added, Registrar, RegistrarRequest, RegistrarSettings, Registration};

const NOW: UnixMillis = UnixMillis(0);

struct Asker {
    registrar: Registrar,
    shards: ShardMap,
}

impl Asker {
    fn new() -> Self {
        Self { registrar: Registrar::new(100, RegistrarSettings::default()), shards: ShardMap::new(1) }
    }

    fn requests(&mut self, now: u64) -> Vec<RegistrarRequest> {
        self.registrar.take_requests(UnixMillis(now), &self.shards)
    }

    fn answer(&mut self, now: u64, request: &RegistrarRequest, result: Result<Reply, Undelivered>) {
        if let Err(Undelivered::Moved { shard, to }) = result {
            self.shards.note_moved(shard, to);
        }
        self.registrar.answered(UnixMillis(now), request.token, result.as_ref().map_err(|error| *error));
    }

    /// All requests there are, answered with `Applied`.
    fn apply_all(&mut self, now: u64) -> Vec<Registration> {
        for request in self.requests(now) {
            self.answer(now, &request, Ok(Reply::Applied));
        }
        self.registrar.take_finished()
    }

    /// With a filter in force.
    fn with(filter: &str) -> Self {
        let mut asker = Self::new();
        assert_eq!(asker.registrar.add(NOW, filter), Added::Waits);
        assert_eq!(asker.apply_all(0), [in_force(filter)]);
        asker
    }
}

fn in_force(filter: &str) -> Registration {
    Registration::InForce(filter.into())
}

fn failed(filter: &str) -> Registration {
    Registration::Failed(filter.into())
}

fn removed(filter: &str) -> Registration {
    Registration::Removed(filter.into())
}

fn number(request: &RegistrarRequest) -> u64 {
    match &request.request {
        RouterRequest::Subscribe { registration, .. } | RouterRequest::Mark { registration, .. } => *registration,
        other => panic!("{other:?}"),
    }
}

/// `subscribe a/b`, `mark a`.
fn words(requests: &[RegistrarRequest]) -> Vec<String> {
    let word = |request: &RegistrarRequest| match &request.request {
        RouterRequest::Subscribe { filter, .. } => format!("subscribe {filter}"),
        RouterRequest::Unsubscribe { filter } => format!("unsubscribe {filter}"),
        RouterRequest::Mark { node, mark: Mark::Filters, .. } => format!("mark {node}"),
        RouterRequest::Mark { node, mark: Mark::Retained, .. } => format!("retained {node}"),
        other => panic!("{other:?}"),
    };
    requests.iter().map(word).collect()
}

#[test]
fn a_filter_is_in_force_when_its_row_and_all_marks_are() {
    // In whatever order the answers come.
    for last in 0..3 {
        let mut asker = Asker::new();
        assert_eq!(asker.registrar.add(NOW, "a/b/+"), Added::Waits);
        let requests = asker.requests(0);
        assert_eq!(words(&requests), ["subscribe a/b/+", "mark ", "mark a"]);
        for (i, request) in requests.iter().enumerate().filter(|(i, _)| *i != last) {
            asker.answer(0, request, Ok(Reply::Applied));
            assert!(asker.registrar.take_finished().is_empty(), "{i} before {last}");
        }
        assert!(!asker.registrar.is_in_force("a/b/+"));
        asker.answer(0, &requests[last], Ok(Reply::Applied));
        assert_eq!(asker.registrar.take_finished(), [in_force("a/b/+")]);
        assert!(asker.registrar.is_in_force("a/b/+") && asker.registrar.is_idle());
    }
}

#[test]
fn one_registration_serves_all_subscribers() {
    let mut asker = Asker::new();
    assert_eq!(asker.registrar.add(NOW, "a"), Added::Waits);
    assert_eq!(asker.registrar.add(NOW, "a"), Added::Waits);
    assert_eq!(asker.apply_all(0), [in_force("a")]);
    assert_eq!(asker.registrar.add(NOW, "a"), Added::InForce);
    for _ in 0..2 {
        asker.registrar.remove("a");
        assert!(asker.requests(0).is_empty());
    }
    asker.registrar.remove("a");
    let requests = asker.requests(0);
    assert_eq!(words(&requests), ["unsubscribe a"]);
    asker.answer(0, &requests[0], Ok(Reply::Applied));
    assert_eq!(asker.registrar.take_finished(), [removed("a")]);
    assert!(asker.registrar.is_idle());
    asker.registrar.remove("a");
    assert!(asker.requests(0).is_empty());
}

#[test]
fn marks_are_asked_for_once() {
    let mut asker = Asker::with("a/b/c");
    asker.registrar.add(NOW, "a/b/d");
    assert_eq!(words(&asker.requests(0)), ["subscribe a/b/d"]);
    // Another mark, of the same nodes.
    assert_eq!(asker.registrar.mark_retained(NOW, "a/x", 7), Added::Waits);
    assert_eq!(words(&asker.requests(0)), ["retained ", "retained a"]);
}

#[test]
fn two_filters_wait_for_the_same_mark() {
    let mut asker = Asker::new();
    asker.registrar.add(NOW, "a");
    asker.registrar.add(NOW, "b");
    let requests = asker.requests(0);
    assert_eq!(words(&requests), ["subscribe a", "mark ", "subscribe b"]);
    for at in [0, 2, 1] {
        assert!(asker.registrar.take_finished().is_empty());
        asker.answer(0, &requests[at], Ok(Reply::Applied));
    }
    assert_eq!(asker.registrar.take_finished(), [in_force("a"), in_force("b")]);
}

#[test]
fn a_confirmation_may_come_before_the_answer_that_promises_it() {
    for before in [false, true] {
        let mut asker = Asker::new();
        asker.registrar.add(NOW, "#");
        let request = asker.requests(0).remove(0);
        if before {
            asker.registrar.registered(number(&request));
        }
        asker.answer(0, &request, Ok(Reply::Pending));
        if !before {
            assert!(asker.registrar.take_finished().is_empty());
            asker.registrar.registered(number(&request));
        }
        assert_eq!(asker.registrar.take_finished(), [in_force("#")]);
        asker.registrar.registered(number(&request));
        assert!(asker.registrar.is_idle());
    }
}

#[test]
fn what_is_not_answered_is_asked_again_with_the_same_number() {
    let shard = ShardMap::virtual_shard(b"");
    let rows = [
        (Ok(Reply::Pending), 5_000, 0),
        (Err(Undelivered::Unreachable), 1_000, 0),
        (Err(Undelivered::Refused), 1_000, 0),
        (Err(Undelivered::Moved { shard, to: 4 }), 0, 4),
    ];
    for (result, wait, router) in rows {
        let mut asker = Asker::new();
        asker.registrar.add(NOW, "#");
        let first = asker.requests(0).remove(0);
        asker.answer(10, &first, result.clone());
        if wait > 0 {
            assert_eq!(asker.registrar.next_timeout(), Some(UnixMillis(10 + wait)), "{result:?}");
            assert!(asker.requests(10 + wait - 1).is_empty());
        }
        let again = asker.requests(10 + wait);
        assert_eq!((again[0].router, number(&again[0])), (router, number(&first)));
        assert_eq!(asker.apply_all(0), []);
        asker.answer(10 + wait, &again[0], Ok(Reply::Applied));
        assert_eq!(asker.registrar.take_finished(), [in_force("#")]);
    }
}

#[test]
fn a_registration_fails_for_all_when_its_time_is_over() {
    let mut asker = Asker::new();
    asker.registrar.add(NOW, "a");
    asker.registrar.add(NOW, "a");
    asker.registrar.mark_retained(NOW, "a", 3);
    let requests = asker.requests(0);
    asker.answer(0, &requests[0], Ok(Reply::Applied));
    asker.answer(0, &requests[1], Ok(Reply::Pending));
    let late = asker.requests(75_000);
    assert_eq!(asker.registrar.take_finished(), [failed("a"), Registration::Marked { ticket: 3, is_marked: false }]);
    // Its row may be there.
    assert_eq!(words(&late), ["unsubscribe a"]);
    asker.registrar.registered(number(&requests[1]));
    assert_eq!(asker.registrar.take_finished(), []);
    // From the beginning.
    assert_eq!(asker.registrar.add(UnixMillis(75_000), "a"), Added::Waits);
    assert_eq!(words(&asker.requests(75_000)), ["subscribe a", "mark "]);
}

#[test]
fn an_instance_that_was_superseded_registers_nothing() {
    let mut asker = Asker::new();
    asker.registrar.add(NOW, "#");
    let request = asker.requests(0).remove(0);
    asker.answer(0, &request, Err(Undelivered::Superseded));
    assert_eq!(asker.registrar.take_finished(), [failed("#")]);
}

#[test]
fn an_unsubscribe_that_overtakes_the_confirmation_ends_it() {
    let mut asker = Asker::new();
    asker.registrar.add(NOW, "#");
    let old = asker.requests(0).remove(0);
    asker.registrar.remove("#");
    assert_eq!(asker.registrar.add(NOW, "#"), Added::Waits);
    // The unsubscription hasn't left, so the row only has to stay.
    let requests = asker.requests(0);
    assert_eq!(words(&requests), ["subscribe #"]);
    asker.answer(0, &old, Ok(Reply::Applied));
    asker.registrar.registered(number(&old));
    assert_eq!(asker.registrar.take_finished(), [], "that was the first");
    asker.answer(0, &requests[0], Ok(Reply::Applied));
    assert_eq!(asker.registrar.take_finished(), [in_force("#")]);
}

#[test]
fn an_unsubscribe_that_failed_never_ends_a_newer_subscription() {
    let mut asker = Asker::with("#");
    asker.registrar.remove("#");
    let removal = asker.requests(0).remove(0);
    asker.registrar.add(NOW, "#");
    let subscription = asker.requests(0);
    asker.answer(0, &removal, Err(Undelivered::Moved { shard: ShardMap::virtual_shard(b""), to: 2 }));
    assert!(asker.requests(60_000).is_empty());
    asker.answer(0, &subscription[0], Ok(Reply::Applied));
    assert_eq!(asker.registrar.take_finished(), [in_force("#")]);
}

#[test]
fn an_unsubscribe_goes_on_until_the_router_knows() {
    let mut asker = Asker::new();
    asker.registrar.take_out("#");
    asker.registrar.take_out("#");
    let mut now = 0;
    for result in [Err(Undelivered::Unreachable), Err(Undelivered::Refused), Ok(Reply::Applied)] {
        let requests = asker.requests(now);
        assert_eq!(words(&requests), ["unsubscribe #"]);
        asker.answer(now, &requests[0], result);
        now += 5_000;
    }
    assert_eq!(asker.registrar.take_finished(), [removed("#")]);
    assert!(asker.registrar.is_idle());
}

#[test]
fn what_was_in_force_before_a_sleep_still_is() {
    let mut asker = Asker::new();
    asker.registrar.restore("a/b");
    asker.registrar.restore("a/b");
    assert!(asker.requests(0).is_empty() && asker.registrar.is_in_force("a/b"));
    assert_eq!(asker.registrar.add(NOW, "a/b"), Added::InForce);
    asker.registrar.add(NOW, "a/c");
    assert_eq!(words(&asker.requests(0)), ["subscribe a/c"], "the nodes above are marked");
    for _ in 0..3 {
        asker.registrar.remove("a/b");
    }
    assert_eq!(words(&asker.requests(0)), ["unsubscribe a/b"]);
}

#[test]
fn a_retained_message_waits_for_the_marks_above_its_node() {
    let mut asker = Asker::new();
    assert_eq!(asker.registrar.mark_retained(NOW, "a/b", 1), Added::Waits);
    assert_eq!(asker.registrar.mark_retained(NOW, "a/c", 2), Added::Waits);
    let marked = |ticket| Registration::Marked { ticket, is_marked: true };
    assert_eq!(asker.apply_all(0), [marked(1), marked(2)]);
    assert_eq!(asker.registrar.mark_retained(NOW, "a/d", 3), Added::InForce);
    assert_eq!(asker.registrar.mark_retained(NOW, "a/b/c/d/e/f", 4), Added::Waits);
    assert_eq!(words(&asker.requests(0)), ["retained a/b", "retained a/b/c"]);
}

#[test]
fn remembered_marks_are_bounded() {
    let settings = RegistrarSettings { maximum_marks: 10, ..RegistrarSettings::default() };
    let mut asker = Asker { registrar: Registrar::new(0, settings), shards: ShardMap::new(1) };
    for i in 0..100 {
        asker.registrar.mark_retained(NOW, &format!("n{i}/x"), i);
        assert_eq!(asker.apply_all(0).len(), 1);
    }
    assert_eq!(asker.registrar.mark_retained(NOW, "n0/x", 100), Added::Waits, "forgotten, so asked for again");
    assert_eq!(asker.registrar.mark_retained(NOW, "n99/y", 101), Added::InForce);
}
