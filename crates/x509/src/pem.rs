//! PEM (RFC 7468), read and written.

use crate::{Error, MAXIMUM_BYTES};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls_pemfile::Item;

/// The kinds of blocks that are of interest here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Certificate,
    CertificateRequest,
    PublicKey,
    PrivateKey,
    RsaPrivateKey,
}

impl Label {
    const fn text(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::CertificateRequest => "CERTIFICATE REQUEST",
            Self::PublicKey => "PUBLIC KEY",
            Self::PrivateKey => "PRIVATE KEY",
            Self::RsaPrivateKey => "RSA PRIVATE KEY",
        }
    }
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Characters of base64 in a line (RFC 7468 section 2).
const LINE: usize = 64;

/// The DER in all the blocks of a text, which must be `label`'s; at least one, at most `maximum_blocks`.
///
/// Text before a block is an explanation (RFC 7468 section 5.2), which `openssl x509 -text` writes; after the last one
/// there is nothing but white space.
pub(crate) fn decode(
    text: &str,
    label: Label,
    maximum_blocks: usize,
    what: &'static str,
) -> Result<Vec<Vec<u8>>, Error> {
    if text.len() > MAXIMUM_BYTES {
        return Err(Error::TooLarge { what, maximum_bytes: MAXIMUM_BYTES });
    }
    let malformed = |reason| Error::Pem { what, reason };
    let mut blocks = Vec::new();
    for block in read_blocks(text).map_err(malformed)? {
        if block.label != Some(label) {
            return Err(malformed("a block of another kind"));
        }
        blocks.push(block.der);
        if blocks.len() > maximum_blocks {
            return Err(malformed("too many blocks"));
        }
    }
    // The library passes over blocks whose label it doesn't know.
    let count = |start| text.lines().filter(|line| line.trim_start().starts_with(start)).count();
    let is_all = count(BEGIN) == blocks.len() && count(END) == blocks.len();
    let ends_well = text.trim_end().lines().next_back().is_some_and(|line| {
        line.trim().strip_prefix(END).and_then(|line| line.strip_suffix(DASHES)) == Some(label.text())
    });
    match (blocks.is_empty(), is_all, ends_well) {
        (true, _, _) => Err(malformed("no block")),
        (false, false, _) => Err(malformed("a block of another kind")),
        (false, true, false) => Err(malformed("something follows the last block")),
        (false, true, true) => Ok(blocks),
    }
}

/// What is between two lines of dashes.
struct Block {
    /// `None` for what is of no interest here.
    label: Option<Label>,
    der: Vec<u8>,
}

/// All blocks of a text. The one place that knows the library.
fn read_blocks(text: &str) -> Result<Vec<Block>, &'static str> {
    let mut rest = text.as_bytes();
    let mut blocks = Vec::new();
    loop {
        match rustls_pemfile::read_one_from_slice(rest) {
            Ok(Some((item, after))) => {
                rest = after;
                let (label, der) = match item {
                    Item::X509Certificate(der) => (Some(Label::Certificate), der.as_ref().to_vec()),
                    Item::Csr(der) => (Some(Label::CertificateRequest), der.as_ref().to_vec()),
                    Item::SubjectPublicKeyInfo(der) => (Some(Label::PublicKey), der.as_ref().to_vec()),
                    Item::Pkcs8Key(der) => (Some(Label::PrivateKey), der.secret_pkcs8_der().to_vec()),
                    _ => (None, Vec::new()),
                };
                blocks.push(Block { label, der });
            }
            Ok(None) => return Ok(blocks),
            Err(rustls_pemfile::Error::MissingSectionEnd { .. }) => return Err("a block has no end"),
            Err(rustls_pemfile::Error::IllegalSectionStart { .. }) => return Err("a block's first line"),
            Err(rustls_pemfile::Error::Base64Decode(_)) => return Err("not base64"),
        }
    }
}

/// The text of one block, as AWS writes it: lines of 64 characters, each ended by a line feed, the last one, too.
pub(crate) fn encode(label: Label, der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = String::with_capacity(base64.len() + base64.len() / LINE + 64);
    text.push_str(BEGIN);
    text.push_str(label.text());
    text.push_str(DASHES);
    text.push('\n');
    let mut rest = base64.as_str();
    while let Some((line, after)) = rest.split_at_checked(LINE.min(rest.len())).filter(|(line, _)| !line.is_empty()) {
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push_str(label.text());
    text.push_str(DASHES);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificates(text: &str) -> Result<Vec<Vec<u8>>, Error> {
        decode(text, Label::Certificate, 2, "certificate")
    }

    #[test]
    fn what_is_written_is_read_and_has_lines_of_64_characters() {
        for length in [0, 1, 47, 48, 49, 95, 96, 97, 1_000] {
            let der = vec![0xa5; length];
            let text = encode(Label::Certificate, &der);
            assert!(text.ends_with("-----END CERTIFICATE-----\n"));
            let lines: Vec<&str> = text.lines().collect();
            let inner = lines.get(1..lines.len() - 1).unwrap();
            assert!(inner.iter().rev().skip(1).all(|line| line.len() == 64), "{text}");
            assert!(inner.iter().all(|line| (1..=64).contains(&line.len())), "{text}");
            assert_eq!(certificates(&text).unwrap(), [der]);
        }
    }

    #[test]
    fn explanations_may_come_first_and_nothing_may_come_after() {
        let one = encode(Label::Certificate, b"one");
        let two = encode(Label::Certificate, b"two");
        for (text, good) in [
            (one.clone(), true),
            (format!("Certificate:\n    Data:\n{one}"), true),
            (format!("{one}\r\n  \n"), true),
            (one.replace('\n', "\r\n"), true),
            (format!("{one}{two}"), true),
            (format!("{one}\nsubject: two\n{two}"), true),
            (format!("{one}{two}{one}"), false),
            (format!("{one}trailing"), false),
            (format!("{one}-----END CERTIFICATE-----\n"), false),
            (format!("{one}{}", encode(Label::PrivateKey, b"key")), false),
            (format!("{}{one}", encode(Label::PublicKey, b"key")), false),
            (format!("{one}-----BEGIN SECRET-----\nAAAA\n-----END SECRET-----\n"), false),
            (format!("-----BEGIN SECRET-----\nAAAA\n-----END SECRET-----\n{one}"), false),
            (one.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), false),
            (one.replace("END", "DNE"), false),
            (one.replace("b25l", "b25l!"), false),
            (one.replace("b25l", "b25"), true),
            (one.replace("CERTIFICATE-----\nb", "CERTIFICATE--\nb"), false),
            (String::new(), false),
            ("b25l".to_owned(), false),
        ] {
            let result = certificates(&text);
            assert_eq!(result.is_ok(), good, "{result:?} {text}");
        }
        let large = " ".repeat(MAXIMUM_BYTES + 1);
        assert_eq!(certificates(&large), Err(Error::TooLarge { what: "certificate", maximum_bytes: MAXIMUM_BYTES }));
    }
}
