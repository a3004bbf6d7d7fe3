//! Topics that begin with `$`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use mqtt_topic::reserved::{
    JobMessage, ReservedTopic, ShadowMessage, event_topic, job_topic, may_publish, may_retain, may_subscribe, parse,
    rule_topic, shadow_topic,
};
use proptest::prelude::*;

fn job_messages(job_id: &str) -> [JobMessage<'_>; 14] {
    [
        JobMessage::GetPending,
        JobMessage::GetPendingAccepted,
        JobMessage::GetPendingRejected,
        JobMessage::StartNext,
        JobMessage::StartNextAccepted,
        JobMessage::StartNextRejected,
        JobMessage::Describe { job_id },
        JobMessage::DescribeAccepted { job_id },
        JobMessage::DescribeRejected { job_id },
        JobMessage::Update { job_id },
        JobMessage::UpdateAccepted { job_id },
        JobMessage::UpdateRejected { job_id },
        JobMessage::Notify,
        JobMessage::NotifyNext,
    ]
}

#[test]
fn topics_read_as_aws_writes_them() {
    let shadow = |shadow, message| Some(ReservedTopic::Shadow { thing: "T", shadow, message });
    let job = |message| Some(ReservedTopic::Job { thing: "T", message });
    let rows = [
        ("a/b", None),
        ("a/$aws", None),
        ("", None),
        ("$aws/things/T/shadow/get", shadow(None, ShadowMessage::Get)),
        ("$aws/things/T/shadow/update/delta", shadow(None, ShadowMessage::UpdateDelta)),
        ("$aws/things/T/shadow/name/N/update", shadow(Some("N"), ShadowMessage::Update)),
        ("$aws/things/T/shadow/name/N/delete/rejected", shadow(Some("N"), ShadowMessage::DeleteRejected)),
        ("$aws/things/T/shadow/name/name/get", shadow(Some("name"), ShadowMessage::Get)),
        ("$aws/things/T/shadow/name/get", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/shadow/name//get", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/shadow", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/shadow/", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/shadow/get/", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/shadow/Get", Some(ReservedTopic::OtherAws)),
        ("$aws/things//shadow/get", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/jobs/get", job(JobMessage::GetPending)),
        ("$aws/things/T/jobs/start-next", job(JobMessage::StartNext)),
        ("$aws/things/T/jobs/$next/get", job(JobMessage::Describe { job_id: "$next" })),
        ("$aws/things/T/jobs/get/get", job(JobMessage::Describe { job_id: "get" })),
        ("$aws/things/T/jobs/get/accepted", job(JobMessage::GetPendingAccepted)),
        ("$aws/things/T/jobs/j1/update/rejected", job(JobMessage::UpdateRejected { job_id: "j1" })),
        ("$aws/things/T/jobs/notify-next", job(JobMessage::NotifyNext)),
        ("$aws/things/T/jobs/j1/namespace-aws-gg-deployment/get", Some(ReservedTopic::OtherAws)),
        ("$aws/things/T/jobs//get", Some(ReservedTopic::OtherAws)),
        ("$aws/rules/r", Some(ReservedTopic::Rule { rule_name: "r", topic: None })),
        ("$aws/rules/r/a/b", Some(ReservedTopic::Rule { rule_name: "r", topic: Some("a/b") })),
        ("$aws/rules/", Some(ReservedTopic::OtherAws)),
        ("$aws/rules", Some(ReservedTopic::OtherAws)),
        ("$aws/events/presence/connected/c", Some(ReservedTopic::Event("presence/connected/c"))),
        ("$aws", Some(ReservedTopic::OtherAws)),
        ("$aws/certificates/create/json", Some(ReservedTopic::Provisioning { is_request: true })),
        ("$aws/certificates/create/cbor/accepted", Some(ReservedTopic::Provisioning { is_request: false })),
        ("$aws/certificates/create-from-csr/cbor", Some(ReservedTopic::Provisioning { is_request: true })),
        ("$aws/certificates/create/xml", Some(ReservedTopic::OtherAws)),
        ("$aws/certificates/create/json/other", Some(ReservedTopic::OtherAws)),
        ("$aws/certificates/registered/0a", Some(ReservedTopic::OtherAws)),
        ("$aws/provisioning-templates/T/provision/json", Some(ReservedTopic::Provisioning { is_request: true })),
        (
            "$aws/provisioning-templates/T/provision/json/rejected",
            Some(ReservedTopic::Provisioning { is_request: false }),
        ),
        ("$aws/provisioning-templates//provision/json", Some(ReservedTopic::OtherAws)),
        ("$share/g/a", Some(ReservedTopic::Share)),
        ("$SYS", Some(ReservedTopic::Sys)),
        ("$SYS/broker/uptime", Some(ReservedTopic::Sys)),
        ("$umbra", Some(ReservedTopic::Umbra)),
        ("$umbra/control", Some(ReservedTopic::Umbra)),
        ("$umbrae", Some(ReservedTopic::OtherDollar)),
        ("$", Some(ReservedTopic::OtherDollar)),
        ("$/aws", Some(ReservedTopic::OtherDollar)),
    ];
    for (topic, expected) in rows {
        assert_eq!(parse(topic), expected, "{topic}");
    }
}

#[test]
fn clients_publish_requests_and_nothing_else_that_begins_with_a_dollar() {
    let rows = [
        ("a/b", true),
        ("a/$SYS", true),
        ("$aws/things/T/shadow/get", true),
        ("$aws/things/T/shadow/update", true),
        ("$aws/things/T/shadow/name/N/delete", true),
        ("$aws/things/T/shadow/update/accepted", false),
        ("$aws/things/T/shadow/update/delta", false),
        ("$aws/things/T/shadow/update/documents", false),
        ("$aws/things/T/shadow/name/N/get/rejected", false),
        ("$aws/things/T/shadow/other", false),
        ("$aws/things/T/jobs/get", true),
        ("$aws/things/T/jobs/start-next", true),
        ("$aws/things/T/jobs/$next/get", true),
        ("$aws/things/T/jobs/j/update", true),
        ("$aws/things/T/jobs/j/update/accepted", false),
        ("$aws/things/T/jobs/notify", false),
        ("$aws/things/T/jobs/notify-next", false),
        ("$aws/rules/r", true),
        ("$aws/rules/r/a", true),
        ("$aws/rules", false),
        ("$aws/events/presence/connected/c", false),
        ("$aws/anything", false),
        ("$SYS/a", false),
        ("$share/g/a", false),
        ("$umbra/control", false),
        ("$umbra", false),
        ("$other", false),
    ];
    for (topic, expected) in rows {
        assert_eq!(may_publish(topic), expected, "{topic}");
    }
}

#[test]
fn clients_subscribe_to_all_but_what_is_internal_or_publish_only() {
    let rows = [
        ("#", true),
        ("a/+", true),
        ("$aws/things/T/shadow/#", true),
        ("$aws/events/#", true),
        ("$aws/#", true),
        ("$SYS/#", true),
        ("$share/g/a", true),
        ("$umbra", false),
        ("$umbra/#", false),
        ("$umbra/+/a", false),
        ("$share/g/$umbra/#", false),
        ("$aws/rules/#", false),
        ("$aws/rules/r/a", false),
        ("$aws/rules", false),
        ("$share/g/$aws/rules/+", false),
        ("$umbral/#", true),
    ];
    for (filter, expected) in rows {
        assert_eq!(may_subscribe(filter), expected, "{filter}");
    }
}

#[test]
fn nothing_is_retained_on_topics_that_begin_with_a_dollar() {
    let rows = [
        ("a/b", true),
        ("a/$aws", true),
        ("/$aws", true),
        ("$aws/things/T/shadow/update", false),
        ("$aws/rules/r/a", false),
        ("$umbra/control", false),
        ("$other", false),
        ("$", false),
    ];
    for (topic, expected) in rows {
        assert_eq!(may_retain(topic), expected, "{topic}");
    }
}

#[test]
fn the_answers_to_a_request_have_its_topic_and_a_suffix() {
    for message in ShadowMessage::ALL {
        assert_eq!(message.answers().is_some(), message.is_request(), "{message:?}");
        if let Some((accepted, rejected)) = message.answers() {
            let topic = shadow_topic("T", None, message);
            assert_eq!(shadow_topic("T", None, accepted), format!("{topic}/accepted"));
            assert_eq!(shadow_topic("T", None, rejected), format!("{topic}/rejected"));
        }
    }
    for message in job_messages("j") {
        assert_eq!(message.answers().is_some(), message.is_request(), "{message:?}");
        if let Some((accepted, rejected)) = message.answers() {
            let topic = job_topic("T", message);
            assert_eq!(job_topic("T", accepted), format!("{topic}/accepted"));
            assert_eq!(job_topic("T", rejected), format!("{topic}/rejected"));
        }
    }
}

proptest! {
    #[test]
    fn what_is_built_parses_back(
        thing in "[a-zA-Z0-9:_-]{1,20}",
        shadow in proptest::option::of("[$a-zA-Z0-9:_-]{1,20}"),
        job_id in prop_oneof!["[a-zA-Z0-9_-]{1,20}", Just("$next".to_owned()), Just("get".to_owned())],
        topic in proptest::option::of("[a-z/]{0,10}"),
    ) {
        for message in ShadowMessage::ALL {
            let built = shadow_topic(&thing, shadow.as_deref(), message);
            let expected = ReservedTopic::Shadow { thing: &thing, shadow: shadow.as_deref(), message };
            prop_assert_eq!(parse(&built), Some(expected));
            prop_assert_eq!(may_publish(&built), message.is_request());
        }
        for message in job_messages(&job_id) {
            let built = job_topic(&thing, message);
            prop_assert_eq!(parse(&built), Some(ReservedTopic::Job { thing: &thing, message }));
            prop_assert_eq!(may_publish(&built), message.is_request());
        }
        let built = rule_topic(&thing, topic.as_deref());
        prop_assert_eq!(parse(&built), Some(ReservedTopic::Rule { rule_name: &thing, topic: topic.as_deref() }));
        let built = event_topic(&thing);
        prop_assert_eq!(parse(&built), Some(ReservedTopic::Event(&thing)));
    }
}
