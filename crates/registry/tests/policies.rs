//! Policies, their attachments and certificates, from request to response, in the SQLite that D1 is made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Database, NOW, P, scope};
use iot_types::{CertificateId, PolicyName, UnixMillis};
use registry::certificate::{
    self, CertificateInUseRow, CertificateRecord, CertificateRow, CertificateStatus, CertificateSummaryRow,
    ListCertificatesRequest,
};
use registry::policy::{
    self, AttachmentRow, ListTargetsRequest, MarkerPage, PolicyNameRow, PolicyOfTargetRow, PolicyRow, PolicyTarget,
    PolicyTargetRow, PolicyVersionRow,
};
use registry::{ApiError, Limits, statements as sql};
use serde_json::Value;
use std::collections::BTreeMap;

fn name(text: &str) -> PolicyName {
    PolicyName::new(text).unwrap()
}

fn id(digit: char) -> CertificateId {
    CertificateId::new(digit.to_string().repeat(64)).unwrap()
}

fn arn(digit: char) -> String {
    scope().certificate_arn(&id(digit)).to_string()
}

fn target(digit: char) -> PolicyTarget {
    PolicyTarget::parse(&arn(digit), &scope()).unwrap()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Operations as the workers do them: one batch, then the settling function.
impl Database {
    fn create(&self, policy: &str, document: &str) -> Result<(), ApiError> {
        self.run(&sql::insert_first_policy_version(P, &name(policy), document, NOW));
        let changed = self.run(&sql::insert_policy(P, &name(policy), NOW));
        policy::settle_create(&scope(), &name(policy), changed)
    }

    fn policy(&self, policy: &str) -> Option<PolicyRow> {
        self.rows(&sql::select_policy(P, &name(policy))).pop()
    }

    fn create_version(&self, policy: &str, document: &str, is_default: bool) -> Result<Value, ApiError> {
        let at = NOW.plus_millis(1_000);
        self.run(&sql::count_policy_version(P, &name(policy), is_default, at));
        let changed = self.run(&sql::insert_policy_version(P, &name(policy), document, at));
        let stored = policy::settle_create_version(&name(policy), changed, self.policy(policy))?;
        Ok(json(&policy::create_policy_version_response(&scope(), &name(policy), document, &stored)))
    }

    fn delete_version(&self, policy: &str, version: u64) -> Result<(), ApiError> {
        let changed = self.run(&sql::delete_policy_version(P, &name(policy), version));
        let left = self.rows::<PolicyVersionRow>(&sql::select_policy_version(P, &name(policy), version));
        policy::settle_delete_version(&name(policy), version, changed, left.first())
    }

    fn versions(&self, policy: &str) -> Vec<(u64, bool)> {
        let rows = self.rows::<PolicyVersionRow>(&sql::list_policy_versions(P, &name(policy)));
        rows.iter().map(|row| (row.version, row.version == row.default_version)).collect()
    }

    fn delete(&self, policy: &str) -> Result<(), ApiError> {
        let changed = self.run(&sql::delete_policy(P, &name(policy)));
        self.run(&sql::delete_policy_versions(P, &name(policy)));
        policy::settle_delete(&name(policy), changed, self.policy(policy).as_ref())
    }

    fn attach(&self, policy: &str, target: &PolicyTarget) -> Result<(), ApiError> {
        self.run(&sql::attach_policy(P, &name(policy), target, Limits::STANDARD.policies_of_target));
        let stored = self.rows::<AttachmentRow>(&sql::select_attachment(P, &name(policy), target)).pop();
        policy::settle_attach(&name(policy), target, stored)
    }

    fn register(&self, digit: char, at: u64, status: CertificateStatus) -> Result<(), ApiError> {
        let record = CertificateRecord {
            certificate_id: id(digit),
            pem: "PEM".into(),
            status,
            ca_certificate_id: None,
            attributes: BTreeMap::from([("Subject.CommonName".to_owned(), vec![digit.to_string()])]),
            not_before: UnixMillis(1_000),
            not_after: UnixMillis(2_000),
            generation_id: "g".into(),
            created_at: UnixMillis(at),
        };
        certificate::settle_register(&scope(), &id(digit), self.run(&sql::insert_certificate(P, &record)))
    }

    fn certificate(&self, digit: char) -> Option<CertificateRow> {
        self.rows(&sql::select_certificate(P, &id(digit), &arn(digit))).pop()
    }

    fn update(&self, digit: char, status: CertificateStatus) -> Result<(), ApiError> {
        let changed = self.run(&sql::update_certificate(P, &id(digit), status, "h", NOW));
        certificate::settle_update(&id(digit), changed)
    }

    fn delete_certificate(&self, digit: char, is_forced: bool) -> Result<(), ApiError> {
        let changed = self.run(&sql::delete_certificate(P, &id(digit), &arn(digit), is_forced));
        self.run(&sql::detach_from_certificate(P, &id(digit), &arn(digit)));
        certificate::settle_delete(&id(digit), changed, self.certificate(digit).as_ref())
    }

    fn in_force(&self, targets: &[&str]) -> Vec<(String, String)> {
        let rows = self.rows::<PolicyOfTargetRow>(&sql::select_policies_of_targets(P, targets));
        let mut found: Vec<_> = rows.into_iter().map(|row| (row.policy_name, row.document)).collect();
        found.sort();
        found
    }
}

fn error<T: core::fmt::Debug>(result: Result<T, ApiError>) -> &'static str {
    result.unwrap_err().name()
}

#[test]
fn a_policy_is_created_once_and_told_back() {
    let database = Database::new();
    assert_eq!(database.create("p", "{}"), Ok(()));
    assert_eq!(error(database.create("p", "{}")), "ResourceAlreadyExistsException");
    assert_eq!(error(database.create("p", "other")), "ResourceAlreadyExistsException");
    let row = policy::found(&name("p"), database.policy("p")).unwrap();
    let told = json(&policy::get_policy_response(&scope(), &name("p"), &row));
    assert_eq!(told["policyDocument"], "{}");
    assert_eq!(told["defaultVersionId"], "1");
    assert_eq!(told["policyArn"], "arn:aws:iot:us-east-1:123456789012:policy/p");
    assert_eq!(told["creationDate"], 1_700_000_000);
    assert_eq!(error(policy::found(&name("q"), database.policy("q"))), "ResourceNotFoundException");
}

#[test]
fn a_policy_has_five_versions_at_most_and_numbers_never_come_back() {
    let database = Database::new();
    assert_eq!(error(database.create_version("p", "2", false)), "ResourceNotFoundException");
    database.create("p", "1").unwrap();
    for version in 2..=5 {
        let told = database.create_version("p", &version.to_string(), version == 3).unwrap();
        assert_eq!(
            (told["policyVersionId"].as_str(), told["isDefaultVersion"].as_bool()),
            (Some(&*version.to_string()), Some(version == 3))
        );
    }
    assert_eq!(error(database.create_version("p", "6", true)), "VersionsLimitExceededException");
    assert_eq!(database.versions("p"), [(5, false), (4, false), (3, true), (2, false), (1, false)]);
    assert_eq!(error(database.delete_version("p", 3)), "DeleteConflictException");
    assert_eq!(database.delete_version("p", 5), Ok(()));
    assert_eq!(error(database.delete_version("p", 5)), "ResourceNotFoundException");
    assert_eq!(error(database.delete_version("q", 1)), "ResourceNotFoundException");
    let told = database.create_version("p", "6", false).unwrap();
    assert_eq!(told["policyVersionId"], "6");
    assert_eq!(error(database.create_version("p", "7", false)), "VersionsLimitExceededException");
    assert_eq!(database.versions("p").len(), 5);
    for (version, changed) in [(6, 1), (5, 0), (9, 0)] {
        let statement = sql::set_default_policy_version(P, &name("p"), version, NOW);
        assert_eq!(database.run(&statement), changed, "{version}");
    }
    assert_eq!(database.policy("p").unwrap().document, "6");
    assert_eq!(error(policy::settle_set_default(&name("p"), 5, 0)), "ResourceNotFoundException");
    let row = database.rows::<PolicyVersionRow>(&sql::select_policy_version(P, &name("p"), 4)).pop();
    let told =
        policy::get_policy_version_response(&scope(), &name("p"), &policy::found_version(&name("p"), 4, row).unwrap());
    assert_eq!((&json(&told)["policyDocument"], &json(&told)["isDefaultVersion"]), (&"4".into(), &false.into()));
}

#[test]
fn a_policy_with_versions_or_targets_is_not_deleted() {
    let database = Database::new();
    assert_eq!(error(database.delete("p")), "ResourceNotFoundException");
    database.create("p", "1").unwrap();
    database.create_version("p", "2", true).unwrap();
    assert_eq!(error(database.delete("p")), "DeleteConflictException");
    database.delete_version("p", 1).unwrap();
    let other = PolicyTarget::parse("identity", &scope()).unwrap();
    database.attach("p", &other).unwrap();
    assert_eq!(error(database.delete("p")), "DeleteConflictException");
    assert_eq!(database.policy("p").unwrap().versions, 1, "nothing is half deleted");
    assert_eq!(database.run(&sql::detach_policy(P, &name("p"), &other)), 1);
    assert_eq!(database.run(&sql::detach_policy(P, &name("p"), &other)), 0);
    assert_eq!(database.delete("p"), Ok(()));
    assert_eq!(database.versions("p"), []);
    assert_eq!(database.create("p", "new"), Ok(()));
    assert_eq!(database.versions("p"), [(1, true)]);
}

#[test]
fn policies_are_attached_to_what_exists_and_ten_at_most() {
    let database = Database::new();
    database.create("p", "1").unwrap();
    assert_eq!(error(database.attach("p", &target('a'))), "ResourceNotFoundException");
    assert_eq!(error(database.attach("q", &PolicyTarget::parse("x", &scope()).unwrap())), "ResourceNotFoundException");
    database.register('a', 1, CertificateStatus::Active).unwrap();
    assert_eq!(database.attach("p", &target('a')), Ok(()));
    assert_eq!(database.attach("p", &target('a')), Ok(()), "again");
    for number in 0..9 {
        let policy = format!("p{number}");
        database.create(&policy, &policy).unwrap();
        assert_eq!(database.attach(&policy, &target('a')), Ok(()));
    }
    database.create("one-more", "").unwrap();
    assert_eq!(error(database.attach("one-more", &target('a'))), "LimitExceededException");
    assert_eq!(database.attach("p0", &target('a')), Ok(()), "it is attached");

    let page = |query: &str| MarkerPage::of_attached_policies(query, &Limits::STANDARD).unwrap();
    let mut all = Vec::new();
    let mut query = "pageSize=4".to_owned();
    loop {
        let rows = database.rows::<PolicyNameRow>(&sql::list_attached_policies(P, &target('a'), &page(&query)));
        let told = json(&policy::list_policies_response(&scope(), &page(&query), rows).unwrap());
        all.extend(
            told["policies"].as_array().unwrap().iter().map(|policy| policy["policyName"].as_str().unwrap().to_owned()),
        );
        let Some(marker) = told["nextMarker"].as_str() else { break };
        query = format!("pageSize=4&marker={marker}");
    }
    assert_eq!(all, ["p", "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"]);
    let request = ListTargetsRequest::parse("p", "", &Limits::STANDARD).unwrap();
    let rows = database.rows::<PolicyTargetRow>(&sql::list_targets_for_policy(P, &request));
    assert_eq!(json(&policy::list_targets_response(&request, rows)), serde_json::json!({"targets": [arn('a')]}));
}

#[test]
fn policies_are_listed_in_both_directions() {
    let database = Database::new();
    for policy in ["b", "a", "c"] {
        database.create(policy, "").unwrap();
    }
    let list = |query: &str| {
        let page = MarkerPage::of_policies(query, &Limits::STANDARD).unwrap();
        let rows = database.rows::<PolicyNameRow>(&sql::list_policies(P, &page));
        rows.into_iter().take(page.size as usize).map(|row| row.policy_name).collect::<String>()
    };
    assert_eq!(list(""), "abc");
    assert_eq!(list("isAscendingOrder=false"), "cba");
    assert_eq!(list("isAscendingOrder=false&pageSize=2"), "cb");
}

#[test]
fn a_broker_reads_the_default_versions_of_some_targets_at_once() {
    let database = Database::new();
    for digit in ['a', 'b', 'c'] {
        database.register(digit, 1, CertificateStatus::Active).unwrap();
    }
    database.create("p", "1").unwrap();
    database.create("q", "q").unwrap();
    database.create_version("p", "2", true).unwrap();
    database.create_version("p", "3", false).unwrap();
    database.attach("p", &target('a')).unwrap();
    database.attach("q", &target('a')).unwrap();
    database.attach("p", &target('b')).unwrap();
    let both = [("p".to_owned(), "2".to_owned()), ("q".to_owned(), "q".to_owned())];
    assert_eq!(database.in_force(&[&arn('a')]), both);
    assert_eq!(database.in_force(&[&arn('a'), &arn('b'), &arn('c')]).len(), 3);
    assert_eq!(database.in_force(&[]), []);
    let ids = [id('a'), id('c'), id('f')];
    let ids: Vec<&str> = ids.iter().map(CertificateId::as_str).collect();
    let rows = database.rows::<CertificateInUseRow>(&sql::select_certificates_in_use(P, &ids));
    assert_eq!(rows.len(), 2);
    let known = rows[0].usable(UnixMillis(1_500)).unwrap().unwrap();
    assert_eq!(known["Subject.CommonName"], ["a"]);
}

#[test]
fn a_certificate_is_deleted_when_it_is_not_active_and_has_no_policies() {
    let database = Database::new();
    database.create("p", "1").unwrap();
    assert_eq!(error(database.delete_certificate('a', false)), "ResourceNotFoundException");
    assert_eq!(error(database.update('a', CertificateStatus::Active)), "ResourceNotFoundException");
    database.register('a', 1, CertificateStatus::Active).unwrap();
    assert_eq!(error(database.register('a', 2, CertificateStatus::Inactive)), "ResourceAlreadyExistsException");
    database.attach("p", &target('a')).unwrap();
    assert_eq!(error(database.delete_certificate('a', true)), "CertificateStateException");
    database.update('a', CertificateStatus::Inactive).unwrap();
    let row = database.certificate('a').unwrap();
    assert_eq!((row.customer_version, row.generation_id.as_str(), row.is_attached), (2, "h", 1));
    assert_eq!(error(database.delete_certificate('a', false)), "DeleteConflictException");
    assert_eq!(database.in_force(&[&arn('a')]).len(), 1);
    assert_eq!(database.delete_certificate('a', true), Ok(()));
    assert_eq!(database.in_force(&[&arn('a')]), []);
    assert_eq!(error(certificate::found(&id('a'), database.certificate('a'))), "ResourceNotFoundException");
}

#[test]
fn certificates_are_listed_page_by_page_in_both_directions() {
    let database = Database::new();
    for (digit, at) in [('a', 5), ('b', 3), ('c', 5), ('d', 9)] {
        database.register(digit, at, CertificateStatus::Inactive).unwrap();
    }
    for (order, expected) in [("", "dcab"), ("&isAscendingOrder=true", "bacd")] {
        let (mut all, mut marker) = (String::new(), String::new());
        loop {
            let query = format!("pageSize=1{order}&marker={marker}");
            let request = ListCertificatesRequest::parse(&query, &Limits::STANDARD).unwrap();
            let rows = database.rows::<CertificateSummaryRow>(&sql::list_certificates(P, &request));
            let told = json(&certificate::list_certificates_response(&scope(), &request, rows).unwrap());
            all.push_str(&told["certificates"][0]["certificateId"].as_str().unwrap()[..1]);
            let Some(next) = told["nextMarker"].as_str() else { break };
            next.clone_into(&mut marker);
        }
        assert_eq!(all, expected, "{order}");
    }
    let row = database.certificate('d').unwrap();
    let told = json(&certificate::describe_certificate_response(&scope(), &id('d'), &row).unwrap());
    let told = &told["certificateDescription"];
    assert_eq!(
        (&told["status"], &told["certificatePem"], &told["ownedBy"]),
        (&"INACTIVE".into(), &"PEM".into(), &"123456789012".into())
    );
    assert_eq!(told["validity"]["notAfter"], 2);
}
