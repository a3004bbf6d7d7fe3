//! The topics of fleet provisioning.

use super::format::Format;
use core::fmt;

/// What a device wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// `$aws/certificates/create/…`: a key and a certificate.
    CreateKeysAndCertificate,
    /// `$aws/certificates/create-from-csr/…`: a certificate for a key of its own.
    CreateCertificateFromCsr,
    /// `$aws/provisioning-templates/{template}/provision/…`: to be provisioned.
    RegisterThing {
        /// The template's name, which is known to be a topic level that is not empty, and no more.
        template: &'a str,
    },
}

/// Which message of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The device's request.
    Request,
    /// Our answer: it is done.
    Accepted,
    /// Our answer: it is not.
    Rejected,
}

/// A topic of fleet provisioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetTopic<'a> {
    /// What a device wants.
    pub operation: Operation<'a>,
    /// How the payload is written.
    pub format: Format,
    /// Which message it is.
    pub stage: Stage,
}

impl<'a> FleetTopic<'a> {
    /// Reads a topic name; `None` for any that is no topic of fleet provisioning.
    #[must_use]
    pub fn parse(topic: &'a str) -> Option<Self> {
        let rest = topic.strip_prefix("$aws/")?;
        let (topic, stage) = match rest.rsplit_once('/')? {
            (topic, "accepted") => (topic, Stage::Accepted),
            (topic, "rejected") => (topic, Stage::Rejected),
            _ => (rest, Stage::Request),
        };
        let (topic, format) = topic.rsplit_once('/')?;
        let format = Format::ALL.into_iter().find(|known| known.as_str() == format)?;
        let operation = match topic {
            "certificates/create" => Operation::CreateKeysAndCertificate,
            "certificates/create-from-csr" => Operation::CreateCertificateFromCsr,
            topic => {
                let template = topic.strip_prefix("provisioning-templates/")?.strip_suffix("/provision")?;
                if template.is_empty() || template.contains('/') {
                    return None;
                }
                Operation::RegisterThing { template }
            }
        };
        Some(Self { operation, format, stage })
    }

    /// The topic of the answer to this request.
    #[must_use]
    pub fn reply(self, is_accepted: bool) -> Self {
        Self { stage: if is_accepted { Stage::Accepted } else { Stage::Rejected }, ..self }
    }
}

impl fmt::Display for FleetTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            Operation::CreateKeysAndCertificate => f.write_str("$aws/certificates/create/")?,
            Operation::CreateCertificateFromCsr => f.write_str("$aws/certificates/create-from-csr/")?,
            Operation::RegisterThing { template } => write!(f, "$aws/provisioning-templates/{template}/provision/")?,
        }
        f.write_str(self.format.as_str())?;
        f.write_str(match self.stage {
            Stage::Request => "",
            Stage::Accepted => "/accepted",
            Stage::Rejected => "/rejected",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_written_alike() {
        let template = |template| Operation::RegisterThing { template };
        for (topic, operation, format, stage) in [
            ("$aws/certificates/create/json", Operation::CreateKeysAndCertificate, Format::Json, Stage::Request),
            (
                "$aws/certificates/create/cbor/accepted",
                Operation::CreateKeysAndCertificate,
                Format::Cbor,
                Stage::Accepted,
            ),
            (
                "$aws/certificates/create-from-csr/cbor",
                Operation::CreateCertificateFromCsr,
                Format::Cbor,
                Stage::Request,
            ),
            (
                "$aws/certificates/create-from-csr/json/rejected",
                Operation::CreateCertificateFromCsr,
                Format::Json,
                Stage::Rejected,
            ),
            ("$aws/provisioning-templates/T/provision/json", template("T"), Format::Json, Stage::Request),
            (
                "$aws/provisioning-templates/provision/provision/cbor",
                template("provision"),
                Format::Cbor,
                Stage::Request,
            ),
            ("$aws/provisioning-templates/a b/provision/json/accepted", template("a b"), Format::Json, Stage::Accepted),
        ] {
            assert_eq!(FleetTopic::parse(topic), Some(FleetTopic { operation, format, stage }));
            assert_eq!(FleetTopic { operation, format, stage }.to_string(), topic);
        }
    }

    #[test]
    fn other_topics_are_none_of_fleet_provisioning() {
        for topic in [
            "",
            "$aws",
            "$aws/",
            "$aws/certificates/create",
            "$aws/certificates/create/",
            "$aws/certificates/create/xml",
            "$aws/certificates/create/JSON",
            "$aws/certificates/create/json/",
            "$aws/certificates/create/json/other",
            "$aws/certificates/create/json/accepted/accepted",
            "$aws/certificates/delete/json",
            "aws/certificates/create/json",
            "$aws/provisioning-templates/provision/json",
            "$aws/provisioning-templates//provision/json",
            "$aws/provisioning-templates/a/b/provision/json",
            "$aws/provisioning-templates/a/provision",
            "$aws/events/certificates/create/json",
        ] {
            assert_eq!(FleetTopic::parse(topic), None, "{topic}");
        }
    }

    #[test]
    fn an_answer_is_in_the_format_of_the_request() {
        let request = FleetTopic::parse("$aws/provisioning-templates/T/provision/cbor").unwrap();
        assert_eq!(request.reply(true).to_string(), "$aws/provisioning-templates/T/provision/cbor/accepted");
        assert_eq!(request.reply(false).to_string(), "$aws/provisioning-templates/T/provision/cbor/rejected");
    }
}
