//! Topics that begin with `$`: parsed once into values, built from values, and closed to clients unless listed.
//!
//! The topics of things are AWS's (AWS IoT developer guide, "Reserved topics", "Device Shadow MQTT topics", "Jobs device
//! MQTT API operations", "Basic Ingest"). `$umbra/` is between Umbra's own parts. Names inside topics are only known
//! not to be empty: `iot-types` checks their syntax.

use crate::filter::without_share;

/// A topic that begins with `$`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReservedTopic<'a> {
    /// `$aws/things/{thing}/shadow/…` or `$aws/things/{thing}/shadow/name/{shadow}/…`.
    Shadow {
        /// The thing's name.
        thing: &'a str,
        /// The shadow's name; `None` is the classic shadow.
        shadow: Option<&'a str>,
        /// Request, answer or notification.
        message: ShadowMessage,
    },
    /// `$aws/things/{thing}/jobs/…`.
    Job {
        /// The thing's name.
        thing: &'a str,
        /// Request, answer or notification.
        message: JobMessage<'a>,
    },
    /// Basic Ingest, `$aws/rules/{rule_name}[/{topic}]`: straight to one rule.
    Rule {
        /// The rule's name.
        rule_name: &'a str,
        /// What the rule's `topic()` sees; may be empty.
        topic: Option<&'a str>,
    },
    /// `$aws/events/…`, what follows that prefix: `presence/connected/{clientId}` and others.
    Event(&'a str),
    /// `$aws/certificates/create[-from-csr]/{format}` or `$aws/provisioning-templates/{template}/provision/{format}`, and
    /// their answers (AWS IoT developer guide, "Device provisioning MQTT API").
    Provisioning {
        /// Whether a client sends it; otherwise it is an answer.
        is_request: bool,
    },
    /// Anything else under `$aws`.
    OtherAws,
    /// `$share` and below: only filters begin like this.
    Share,
    /// `$SYS` and below: nothing is published there.
    Sys,
    /// `$umbra` and below: closed to clients.
    Umbra,
    /// Any other topic that begins with `$`.
    OtherDollar,
}

/// What a shadow topic is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShadowMessage {
    /// `get`: a request.
    Get,
    /// `get/accepted`.
    GetAccepted,
    /// `get/rejected`.
    GetRejected,
    /// `update`: a request.
    Update,
    /// `update/accepted`.
    UpdateAccepted,
    /// `update/rejected`.
    UpdateRejected,
    /// `update/delta`: desired and reported differ.
    UpdateDelta,
    /// `update/documents`: the shadow before and after.
    UpdateDocuments,
    /// `delete`: a request.
    Delete,
    /// `delete/accepted`.
    DeleteAccepted,
    /// `delete/rejected`.
    DeleteRejected,
}

impl ShadowMessage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Get,
        Self::GetAccepted,
        Self::GetRejected,
        Self::Update,
        Self::UpdateAccepted,
        Self::UpdateRejected,
        Self::UpdateDelta,
        Self::UpdateDocuments,
        Self::Delete,
        Self::DeleteAccepted,
        Self::DeleteRejected,
    ];

    /// The end of the topic, after the shadow.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::GetAccepted => "get/accepted",
            Self::GetRejected => "get/rejected",
            Self::Update => "update",
            Self::UpdateAccepted => "update/accepted",
            Self::UpdateRejected => "update/rejected",
            Self::UpdateDelta => "update/delta",
            Self::UpdateDocuments => "update/documents",
            Self::Delete => "delete",
            Self::DeleteAccepted => "delete/accepted",
            Self::DeleteRejected => "delete/rejected",
        }
    }

    fn from_suffix(suffix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.suffix() == suffix)
    }

    /// Whether a client sends it.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Get | Self::Update | Self::Delete)
    }

    /// The answers to a request, accepted and rejected; `None` for what is no request.
    #[must_use]
    pub const fn answers(self) -> Option<(Self, Self)> {
        match self {
            Self::Get => Some((Self::GetAccepted, Self::GetRejected)),
            Self::Update => Some((Self::UpdateAccepted, Self::UpdateRejected)),
            Self::Delete => Some((Self::DeleteAccepted, Self::DeleteRejected)),
            _ => None,
        }
    }
}

/// What a jobs topic is about. A `job_id` of a request may be `$next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobMessage<'a> {
    /// `get`, GetPendingJobExecutions: a request.
    GetPending,
    /// `get/accepted`.
    GetPendingAccepted,
    /// `get/rejected`.
    GetPendingRejected,
    /// `start-next`, StartNextPendingJobExecution: a request.
    StartNext,
    /// `start-next/accepted`.
    StartNextAccepted,
    /// `start-next/rejected`.
    StartNextRejected,
    /// `{job_id}/get`, DescribeJobExecution: a request.
    Describe {
        /// Which job, or `$next`.
        job_id: &'a str,
    },
    /// `{job_id}/get/accepted`.
    DescribeAccepted {
        /// As the request had it.
        job_id: &'a str,
    },
    /// `{job_id}/get/rejected`.
    DescribeRejected {
        /// As the request had it.
        job_id: &'a str,
    },
    /// `{job_id}/update`, UpdateJobExecution: a request.
    Update {
        /// Which job.
        job_id: &'a str,
    },
    /// `{job_id}/update/accepted`.
    UpdateAccepted {
        /// As the request had it.
        job_id: &'a str,
    },
    /// `{job_id}/update/rejected`.
    UpdateRejected {
        /// As the request had it.
        job_id: &'a str,
    },
    /// `notify`: the list of pending executions has changed.
    Notify,
    /// `notify-next`: the next execution has changed.
    NotifyNext,
}

impl<'a> JobMessage<'a> {
    /// The job, where the topic names one, and the end of the topic after it.
    const fn parts(self) -> (Option<&'a str>, &'static str) {
        match self {
            Self::GetPending => (None, "get"),
            Self::GetPendingAccepted => (None, "get/accepted"),
            Self::GetPendingRejected => (None, "get/rejected"),
            Self::StartNext => (None, "start-next"),
            Self::StartNextAccepted => (None, "start-next/accepted"),
            Self::StartNextRejected => (None, "start-next/rejected"),
            Self::Describe { job_id } => (Some(job_id), "get"),
            Self::DescribeAccepted { job_id } => (Some(job_id), "get/accepted"),
            Self::DescribeRejected { job_id } => (Some(job_id), "get/rejected"),
            Self::Update { job_id } => (Some(job_id), "update"),
            Self::UpdateAccepted { job_id } => (Some(job_id), "update/accepted"),
            Self::UpdateRejected { job_id } => (Some(job_id), "update/rejected"),
            Self::Notify => (None, "notify"),
            Self::NotifyNext => (None, "notify-next"),
        }
    }

    fn from_suffix(suffix: &'a str) -> Option<Self> {
        Some(match suffix {
            "get" => Self::GetPending,
            "get/accepted" => Self::GetPendingAccepted,
            "get/rejected" => Self::GetPendingRejected,
            "start-next" => Self::StartNext,
            "start-next/accepted" => Self::StartNextAccepted,
            "start-next/rejected" => Self::StartNextRejected,
            "notify" => Self::Notify,
            "notify-next" => Self::NotifyNext,
            other => {
                let (job_id, operation) = split_name(other)?;
                match operation {
                    "get" => Self::Describe { job_id },
                    "get/accepted" => Self::DescribeAccepted { job_id },
                    "get/rejected" => Self::DescribeRejected { job_id },
                    "update" => Self::Update { job_id },
                    "update/accepted" => Self::UpdateAccepted { job_id },
                    "update/rejected" => Self::UpdateRejected { job_id },
                    _ => return None,
                }
            }
        })
    }

    /// Whether a client sends it.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::GetPending | Self::StartNext | Self::Describe { .. } | Self::Update { .. })
    }

    /// The answers to a request, accepted and rejected; `None` for what is no request.
    #[must_use]
    pub const fn answers(self) -> Option<(Self, Self)> {
        match self {
            Self::GetPending => Some((Self::GetPendingAccepted, Self::GetPendingRejected)),
            Self::StartNext => Some((Self::StartNextAccepted, Self::StartNextRejected)),
            Self::Describe { job_id } => Some((Self::DescribeAccepted { job_id }, Self::DescribeRejected { job_id })),
            Self::Update { job_id } => Some((Self::UpdateAccepted { job_id }, Self::UpdateRejected { job_id })),
            _ => None,
        }
    }
}

/// What a topic that begins with `$` stands for; `None` is an ordinary topic.
#[must_use]
pub fn parse(topic: &str) -> Option<ReservedTopic<'_>> {
    let (first, rest) = split_first(topic.strip_prefix('$')?);
    Some(match first {
        "aws" => rest.and_then(parse_aws).unwrap_or(ReservedTopic::OtherAws),
        "share" => ReservedTopic::Share,
        "SYS" => ReservedTopic::Sys,
        "umbra" => ReservedTopic::Umbra,
        _ => ReservedTopic::OtherDollar,
    })
}

fn parse_aws(rest: &str) -> Option<ReservedTopic<'_>> {
    let (kind, rest) = rest.split_once('/')?;
    match kind {
        "things" => {
            let (thing, rest) = split_name(rest)?;
            let (service, rest) = rest.split_once('/')?;
            match service {
                "shadow" => {
                    let (shadow, suffix) = match rest.strip_prefix("name/") {
                        Some(named) => split_name(named).map(|(name, suffix)| (Some(name), suffix))?,
                        None => (None, rest),
                    };
                    Some(ReservedTopic::Shadow { thing, shadow, message: ShadowMessage::from_suffix(suffix)? })
                }
                "jobs" => Some(ReservedTopic::Job { thing, message: JobMessage::from_suffix(rest)? }),
                _ => None,
            }
        }
        "rules" => {
            let (rule_name, topic) = split_first(rest);
            (!rule_name.is_empty()).then_some(ReservedTopic::Rule { rule_name, topic })
        }
        "events" => Some(ReservedTopic::Event(rest)),
        "certificates" => {
            let (operation, rest) = rest.split_once('/')?;
            matches!(operation, "create" | "create-from-csr").then_some(())?;
            Some(ReservedTopic::Provisioning { is_request: is_provisioning_request(rest)? })
        }
        "provisioning-templates" => {
            let (_, rest) = split_name(rest)?;
            let is_request = is_provisioning_request(rest.strip_prefix("provision/")?)?;
            Some(ReservedTopic::Provisioning { is_request })
        }
        _ => None,
    }
}

/// What follows the operation: a format, and behind it what an answer says.
fn is_provisioning_request(rest: &str) -> Option<bool> {
    let (format, answer) = split_first(rest);
    match (format, answer) {
        ("json" | "cbor", None) => Some(true),
        ("json" | "cbor", Some("accepted" | "rejected")) => Some(false),
        _ => None,
    }
}

/// The topic of a shadow's message; `shadow` is `None` for the classic shadow.
#[must_use]
pub fn shadow_topic(thing: &str, shadow: Option<&str>, message: ShadowMessage) -> String {
    let suffix = message.suffix();
    match shadow {
        None => format!("$aws/things/{thing}/shadow/{suffix}"),
        Some(name) => format!("$aws/things/{thing}/shadow/name/{name}/{suffix}"),
    }
}

/// The topic of a message about a thing's jobs.
#[must_use]
pub fn job_topic(thing: &str, message: JobMessage<'_>) -> String {
    match message.parts() {
        (None, suffix) => format!("$aws/things/{thing}/jobs/{suffix}"),
        (Some(job_id), suffix) => format!("$aws/things/{thing}/jobs/{job_id}/{suffix}"),
    }
}

/// The topic that goes straight to a rule.
#[must_use]
pub fn rule_topic(rule_name: &str, topic: Option<&str>) -> String {
    match topic {
        None => format!("$aws/rules/{rule_name}"),
        Some(topic) => format!("$aws/rules/{rule_name}/{topic}"),
    }
}

/// The topic of an event; `event` is what follows `$aws/events/`.
#[must_use]
pub fn event_topic(event: &str) -> String {
    format!("$aws/events/{event}")
}

/// Whether any client may publish there at all, before its policy is asked: ordinary topics, requests to shadows and
/// jobs, Basic Ingest. Everything else that begins with `$` is the server's.
#[must_use]
pub fn may_publish(topic: &str) -> bool {
    match parse(topic) {
        None | Some(ReservedTopic::Rule { .. }) => true,
        Some(ReservedTopic::Shadow { message, .. }) => message.is_request(),
        Some(ReservedTopic::Job { message, .. }) => message.is_request(),
        Some(ReservedTopic::Provisioning { is_request }) => is_request,
        Some(
            ReservedTopic::Event(_)
            | ReservedTopic::OtherAws
            | ReservedTopic::Share
            | ReservedTopic::Sys
            | ReservedTopic::Umbra
            | ReservedTopic::OtherDollar,
        ) => false,
    }
}

/// Whether any client may subscribe to it at all, shared or not, before its policy is asked.
///
/// Not to `$umbra` and below, nor to `$aws/rules` and below (publish only, "Basic Ingest"). A wildcard in the second
/// level (`$aws/#`) is allowed: what goes to a rule is never routed to subscribers. `$SYS` and below is allowed and
/// silent.
#[must_use]
pub fn may_subscribe(filter: &str) -> bool {
    let mut levels = without_share(filter).split('/');
    !matches!((levels.next(), levels.next()), (Some("$umbra"), _) | (Some("$aws"), Some("rules")))
}

/// Whether a client's message may be kept as the topic's retained message: not where the topic begins with `$` (AWS
/// IoT developer guide, "MQTT retained messages": not on reserved topics).
#[must_use]
pub fn may_retain(topic: &str) -> bool {
    !topic.starts_with('$')
}

/// What of a topic counts against the limits ("Basic Ingest": the first three levels do not).
pub(crate) fn without_basic_ingest_prefix(topic: &str) -> &str {
    match parse(topic) {
        Some(ReservedTopic::Rule { topic: Some(rest), .. }) => rest,
        _ => topic,
    }
}

fn split_first(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)))
}

/// A name that is not empty, and what follows it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    text.split_once('/').filter(|(name, _)| !name.is_empty())
}
