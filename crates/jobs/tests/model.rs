//! Random histories against naive references.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, JobId, Region, Scope, ThingName, UnixMillis};
use jobs::execution::{DeviceRequest, Effects, Execution, Executions, Plane, RejectionCode};
use jobs::job::{Counts, CreateJobRequest, Job, JobRow, JobStatus, ProgressRow, TargetRow};
use jobs::{ExecutionStatus, FIRST_EXECUTION_NUMBER, Outcome};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn thing(n: usize) -> ThingName {
    ThingName::new(format!("thing-{n}")).unwrap()
}

fn job_id(n: usize) -> JobId {
    // The order of ids is not the order of queueing.
    JobId::new(format!("job-{}", 9 - n)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Queue { job: usize, number: u64 },
    GetPending,
    StartNext,
    Describe { job: Option<usize>, number: Option<u64> },
    Update { job: usize, status: ExecutionStatus, expected: Option<u64>, number: Option<u64> },
    Cancel { job: usize, force: bool },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let job = 0..4_usize;
    let number = || proptest::option::weighted(0.3, 1..4_u64);
    let status = proptest::sample::select(ExecutionStatus::ALL.to_vec());
    prop_oneof![
        4 => (job.clone(), 1..4_u64).prop_map(|(job, number)| Step::Queue { job, number }),
        1 => Just(Step::GetPending),
        2 => Just(Step::StartNext),
        2 => (proptest::option::of(job.clone()), number()).prop_map(|(job, number)| Step::Describe { job, number }),
        6 => (job.clone(), status, number(), number())
            .prop_map(|(job, status, expected, number)| Step::Update { job, status, expected, number }),
        1 => (job, any::<bool>()).prop_map(|(job, force)| Step::Cancel { job, force }),
        1 => Just(Step::Restart),
    ]
}

/// An execution as the reference sees it; the order of the vector is the order of queueing.
#[derive(Clone, Debug, PartialEq)]
struct Naive {
    job: usize,
    number: u64,
    status: ExecutionStatus,
    version: u64,
}

fn is_pending(execution: &&Naive) -> bool {
    matches!(execution.status, ExecutionStatus::Queued | ExecutionStatus::InProgress)
}

fn members(all: &[Naive]) -> Vec<(usize, u64)> {
    all.iter().filter(is_pending).map(|execution| (execution.job, execution.number)).collect()
}

fn head(all: &[Naive]) -> Option<usize> {
    let first = |status| all.iter().position(|execution| execution.status == status);
    first(ExecutionStatus::InProgress).or_else(|| first(ExecutionStatus::Queued))
}

fn find(all: &[Naive], job: usize, number: Option<u64>) -> Option<usize> {
    all.iter().rposition(|execution| execution.job == job && number.is_none_or(|number| execution.number == number))
}

/// Applies a step to the reference; says how a device is answered.
fn apply(all: &mut Vec<Naive>, step: &Step) -> Option<Result<(), RejectionCode>> {
    let set = |execution: &mut Naive, status| {
        execution.status = status;
        execution.version += 1;
    };
    match *step {
        Step::Queue { job, number } => {
            let free = find(all, job, None)
                .is_none_or(|latest| all[latest].status.is_terminal() && all[latest].number < number);
            if free {
                all.push(Naive { job, number, status: ExecutionStatus::Queued, version: 1 });
            }
            None
        }
        Step::Cancel { job, force } => {
            if let Some(found) = find(all, job, None) {
                let status = all[found].status;
                if status == ExecutionStatus::Queued || (force && status == ExecutionStatus::InProgress) {
                    set(&mut all[found], ExecutionStatus::Canceled);
                }
            }
            None
        }
        Step::Restart => None,
        Step::GetPending | Step::Describe { job: None, .. } => Some(Ok(())),
        Step::StartNext => {
            if let Some(head) = head(all).filter(|&head| all[head].status == ExecutionStatus::Queued) {
                set(&mut all[head], ExecutionStatus::InProgress);
            }
            Some(Ok(()))
        }
        Step::Describe { job: Some(job), number } => Some(match find(all, job, number) {
            None => Err(RejectionCode::ResourceNotFound),
            Some(found) if all[found].status.is_terminal() => Err(RejectionCode::TerminalStateReached),
            Some(_) => Ok(()),
        }),
        Step::Update { job, status, expected, number } => {
            use ExecutionStatus::{Failed, InProgress, Rejected, Succeeded};
            if ![InProgress, Succeeded, Failed, Rejected].contains(&status) {
                return Some(Err(RejectionCode::InvalidRequest));
            }
            let Some(found) = find(all, job, number) else { return Some(Err(RejectionCode::ResourceNotFound)) };
            if expected.is_some_and(|expected| expected != all[found].version) {
                return Some(Err(RejectionCode::VersionMismatch));
            }
            if all[found].status.is_terminal() {
                return Some(Err(RejectionCode::InvalidStateTransition));
            }
            set(&mut all[found], status);
            Some(Ok(()))
        }
    }
}

fn run(executions: &mut Executions, thing: &ThingName, step: &Step, now: UnixMillis) -> Effects {
    let mut ask = |request, payload: String| executions.request(thing, request, payload.as_bytes(), Plane::Mqtt, now);
    let member = |name: &str, value: Option<u64>| value.map_or(String::new(), |value| format!(r#","{name}":{value}"#));
    match step {
        Step::Queue { job, number } => executions.queue(thing, &job_id(*job), r#"{"a":1}"#, *number, now),
        Step::Cancel { job, force } => executions.cancel(&job_id(*job), *force, now),
        Step::GetPending => ask(DeviceRequest::GetPending, String::new()),
        Step::StartNext => ask(DeviceRequest::StartNext, "{}".to_owned()),
        Step::Describe { job, number } => {
            let id = job.map_or("$next".to_owned(), |job| job_id(job).as_str().to_owned());
            let payload = format!(r#"{{"includeJobDocument":true{}}}"#, member("executionNumber", *number));
            ask(DeviceRequest::Describe { job_id: &id }, payload)
        }
        Step::Update { job, status, expected, number } => {
            let rest = member("expectedVersion", *expected) + &member("executionNumber", *number);
            let payload = format!(r#"{{"status":"{}"{rest}}}"#, status.as_str());
            ask(DeviceRequest::Update { job_id: job_id(*job).as_str() }, payload)
        }
        Step::Restart => Effects::default(),
    }
}

type Rows = BTreeMap<(JobId, u64), Vec<u8>>;

fn store(rows: &mut Rows, effects: &Effects) {
    for row in &effects.rows {
        let before = rows.insert((row.job_id.clone(), row.execution_number), row.encode());
        if let Some(before) = before {
            assert!(!Execution::decode(&before).unwrap().status.is_terminal(), "a terminal state changed");
        }
    }
}

fn load(rows: &Rows) -> Executions {
    Executions::restore(rows.values().map(|row| Execution::decode(row).unwrap()))
}

proptest! {
    #[test]
    fn executions_behave_as_the_naive_reference(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut executions, mut all, mut rows) = (Executions::default(), Vec::<Naive>::new(), Rows::new());
        // The clock stands still now and then and sometimes goes backwards.
        for (at, step) in steps.iter().enumerate() {
            let now = UnixMillis((at as u64 / 3 * 700) ^ 0x400);
            let before = all.clone();
            let answer = apply(&mut all, step);
            let effects = run(&mut executions, &thing(0), step, now);
            if matches!(step, Step::Restart) {
                executions = load(&rows);
            }
            store(&mut rows, &effects);

            prop_assert_eq!(effects.reply.as_ref().map(|reply| reply.code.map_or(Ok(()), Err)), answer);
            prop_assert_eq!(effects.notify.is_some(), members(&before) != members(&all));
            prop_assert_eq!(effects.notify_next.is_some(), head(&before) != head(&all));
            let changed = all.iter().enumerate().filter(|(index, execution)| before.get(*index) != Some(execution));
            prop_assert_eq!(effects.rows.len(), changed.count());
            if !effects.rows.is_empty() {
                let told = all.iter().enumerate()
                    .filter(|(index, now)| before.get(*index).map(|before| before.status) != Some(now.status));
                let told: Vec<_> = told.map(|(index, now)| {
                    (now.job, now.number, before.get(index).map(|before| before.status), now.status, now.version)
                }).collect();
                let outcomes: Vec<_> = effects.outcomes.iter().map(|outcome| {
                    let job = (0..4).find(|job| job_id(*job) == outcome.job_id).unwrap();
                    (job, outcome.execution_number, outcome.from, outcome.to, outcome.version_number)
                }).collect();
                prop_assert_eq!(outcomes, told);
            }
            for execution in &all {
                let found = executions.get(&job_id(execution.job), Some(execution.number)).unwrap();
                prop_assert_eq!((found.status, found.version_number), (execution.status, execution.version));
            }
            prop_assert_eq!(
                executions.pending().next().map(|next| (next.job_id.clone(), next.execution_number)),
                head(&all).map(|head| (job_id(all[head].job), all[head].number))
            );
            prop_assert_eq!(rows.len(), all.len());
        }
        // `next_sequence` differs from a restart's if nothing was queued since, which nobody can see.
        prop_assert_eq!(load(&rows), executions);
    }

    #[test]
    fn arbitrary_payloads_never_panic_and_always_get_json(
        payload in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            r#"\{("(status|statusDetails|expectedVersion|clientToken|executionNumber)":(null|"FAILED"|-?[0-9]{1,25}|\{"a":"\PC"\}|true),?){0,4}\}"#
                .prop_map(String::into_bytes),
        ],
        id in r"\PC{0,70}|job-[0-9]|\$next",
        http in any::<bool>(),
    ) {
        let mut executions = Executions::default();
        for job in 0..3 {
            executions.queue(&thing(0), &job_id(job), "{}", 1, UnixMillis(u64::MAX));
        }
        let plane = if http { Plane::Http } else { Plane::Mqtt };
        for request in [
            DeviceRequest::GetPending,
            DeviceRequest::StartNext,
            DeviceRequest::Describe { job_id: &id },
            DeviceRequest::Update { job_id: &id },
        ] {
            let reply = executions.request(&thing(0), request, &payload, plane, UnixMillis(0)).reply.unwrap();
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&reply.payload).unwrap().is_object());
        }
        let _ = CreateJobRequest::parse(&id, &payload);
        let _ = (JobRow::decode(&payload), ProgressRow::decode(&payload), TargetRow::decode(&payload));
        prop_assert!(Execution::decode(&payload).is_err());
    }

    /// A job and its things, over a network that repeats, reorders and delays what they tell each other.
    #[test]
    fn the_counters_of_a_job_always_equal_a_recount(
        things in 1..6_usize,
        acts in proptest::collection::vec((0..6_u8, any::<prop::sample::Index>(), 0..4_usize), 1..120),
    ) {
        let scope = Scope {
            account_id: AccountId::new("123456789012").unwrap(),
            region: Region::new("us-east-1").unwrap(),
        };
        let targets: Vec<_> = (0..things).map(|n| scope.thing_arn(&thing(n)).as_str().to_owned()).collect();
        let body = serde_json::json!({"targets": targets, "document": "{}"}).to_string();
        let mut job = Job::create(CreateJobRequest::parse("j", body.as_bytes()).unwrap(), &scope, UnixMillis(0));
        let mut stored = (job.progress().encode(), BTreeMap::<ThingName, Vec<u8>>::new());
        for target in job.targets() {
            stored.1.insert(target.thing_name.clone(), target.encode());
        }
        let mut fleet = vec![Executions::default(); things];
        let mut told: Vec<Outcome> = Vec::new();
        let j = JobId::new("j").unwrap();

        for (act, index, n) in acts {
            let at = index.index(things);
            let changes = match act {
                // Dispatch; half of the time the job is not told that it arrived.
                0 | 1 => {
                    let next = job.next_dispatch(n);
                    for name in &next {
                        let at = (0..things).find(|at| thing(*at) == *name).unwrap();
                        let queued = fleet[at].queue(name, &j, "{}", FIRST_EXECUTION_NUMBER, UnixMillis(1));
                        told.extend(queued.outcomes);
                    }
                    (act == 0).then(|| job.dispatched(&next, UnixMillis(1)))
                }
                2 => {
                    let status = ["IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED"][n];
                    let payload = format!(r#"{{"status":"{status}"}}"#);
                    let update = DeviceRequest::Update { job_id: "j" };
                    let effects = fleet[at].request(&thing(at), update, payload.as_bytes(), Plane::Mqtt, UnixMillis(2));
                    told.extend(effects.outcomes);
                    None
                }
                3 => {
                    told.extend(fleet[at].cancel(&j, n == 0, UnixMillis(3)).outcomes);
                    None
                }
                // Anything ever told may arrive, again and in any order.
                _ if told.is_empty() => None,
                _ => job.outcome(&told[index.index(told.len())].clone(), UnixMillis(4)),
            };
            if let Some(changes) = changes {
                stored.0 = changes.progress.encode();
                for target in changes.targets {
                    stored.1.insert(target.thing_name.clone(), target.encode());
                }
            }
            let rows: Vec<_> = stored.1.values().map(|row| TargetRow::decode(row).unwrap()).collect();
            prop_assert_eq!(job.progress().counts, recount(rows.iter().map(|row| row.status)));
            let restored = Job::restore(job.row().clone(), ProgressRow::decode(&stored.0).unwrap(), rows);
            prop_assert_eq!(&restored, &job);
        }

        // In the end everything arrives, the last word first.
        for outcome in told.iter().rev() {
            job.outcome(outcome, UnixMillis(5));
        }
        let truth: Vec<_> = fleet.iter().map(|thing| thing.get(&j, None).map(|execution| execution.status)).collect();
        prop_assert_eq!(job.progress().counts, recount(truth.iter().copied()));
        let over = truth.iter().all(|status| status.is_some_and(ExecutionStatus::is_terminal));
        prop_assert_eq!(job.status() == JobStatus::Completed, over);
        prop_assert_eq!(job.next_dispatch(100).len(), truth.iter().filter(|status| status.is_none()).count());
    }
}

fn recount(statuses: impl Iterator<Item = Option<ExecutionStatus>>) -> Counts {
    let mut counts = Counts::default();
    for status in statuses.flatten() {
        *match status {
            ExecutionStatus::Queued => &mut counts.queued,
            ExecutionStatus::InProgress => &mut counts.in_progress,
            ExecutionStatus::Succeeded => &mut counts.succeeded,
            ExecutionStatus::Failed => &mut counts.failed,
            ExecutionStatus::TimedOut => &mut counts.timed_out,
            ExecutionStatus::Rejected => &mut counts.rejected,
            ExecutionStatus::Removed => &mut counts.removed,
            ExecutionStatus::Canceled => &mut counts.canceled,
        } += 1;
    }
    counts
}
