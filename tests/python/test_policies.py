"""Policies and certificates through AWS's SDK for Python, unmodified."""

import hashlib
import json
import ssl
import subprocess
import tempfile
import unittest
from pathlib import Path

from botocore.exceptions import ClientError

from test_boto3 import PLATFORM, Boto3, unique

DOCUMENT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}
)


def new_certificate(name, *key):
    """A self-signed certificate in PEM, by openssl."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "certificate.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={name}", *(key or ("-newkey", "rsa:2048"))]
        subprocess.run([*command, "-keyout", f"{directory}/key.pem", "-out", out], check=True, capture_output=True)
        return out.read_text()


def certificate_id(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


class PoliciesAndCertificates(Boto3):
    def policy(self):
        name = unique("policy")
        self.iot.create_policy(policyName=name, policyDocument=DOCUMENT)
        return name

    def certificate(self, **settings):
        pem = new_certificate(unique("device"))
        return self.iot.register_certificate_without_ca(certificatePem=pem, **settings)

    def assertFails(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def test_a_policy_lives_from_create_to_delete(self):
        name = unique("policy")
        created = self.iot.create_policy(policyName=name, policyDocument=DOCUMENT)
        arn = f"arn:aws:iot:{PLATFORM['region']}:{PLATFORM['accountId']}:policy/{name}"
        self.assertEqual((created["policyArn"], created["policyVersionId"]), (arn, "1"))
        got = self.iot.get_policy(policyName=name)
        self.assertEqual((got["policyDocument"], got["defaultVersionId"]), (DOCUMENT, "1"))
        self.assertIsNotNone(got["creationDate"].tzinfo)
        self.assertFails("ResourceAlreadyExistsException", self.iot.create_policy, policyName=name, policyDocument=DOCUMENT)
        self.iot.delete_policy(policyName=name)
        self.assertFails("ResourceNotFoundException", self.iot.get_policy, policyName=name)
        self.assertFails("ResourceNotFoundException", self.iot.delete_policy, policyName=name)

    def test_a_document_that_is_not_understood_is_malformed(self):
        for document in ["", "{", "{}", '{"Statement":[]}', DOCUMENT.replace("Allow", "allow"), DOCUMENT.replace("iot:*", "publish")]:
            with self.subTest(document):
                code = "MalformedPolicyException"
                self.assertFails(code, self.iot.create_policy, policyName=unique("bad"), policyDocument=document)

    def test_a_policy_has_versions_of_which_one_is_in_force(self):
        name = self.policy()
        second = self.iot.create_policy_version(policyName=name, policyDocument=DOCUMENT, setAsDefault=True)
        self.assertEqual((second["policyVersionId"], second["isDefaultVersion"]), ("2", True))
        versions = self.iot.list_policy_versions(policyName=name)["policyVersions"]
        self.assertEqual([(v["versionId"], v["isDefaultVersion"]) for v in versions], [("2", True), ("1", False)])
        self.assertFails("DeleteConflictException", self.iot.delete_policy_version, policyName=name, policyVersionId="2")
        self.assertFails("DeleteConflictException", self.iot.delete_policy, policyName=name)
        self.iot.set_default_policy_version(policyName=name, policyVersionId="1")
        self.iot.delete_policy_version(policyName=name, policyVersionId="2")
        self.assertFails("ResourceNotFoundException", self.iot.get_policy_version, policyName=name, policyVersionId="2")
        self.assertTrue(self.iot.get_policy_version(policyName=name, policyVersionId="1")["isDefaultVersion"])
        for _ in range(4):
            self.iot.create_policy_version(policyName=name, policyDocument=DOCUMENT)
        code = "VersionsLimitExceededException"
        self.assertFails(code, self.iot.create_policy_version, policyName=name, policyDocument=DOCUMENT)

    def test_a_policy_is_attached_to_a_certificate_and_detached(self):
        name, certificate = self.policy(), self.certificate(status="ACTIVE")
        target = certificate["certificateArn"]
        self.iot.attach_policy(policyName=name, target=target)
        self.assertEqual([p["policyName"] for p in self.iot.list_attached_policies(target=target)["policies"]], [name])
        self.assertEqual(self.iot.list_targets_for_policy(policyName=name)["targets"], [target])
        self.assertFails("DeleteConflictException", self.iot.delete_policy, policyName=name)
        self.iot.detach_policy(policyName=name, target=target)
        self.iot.detach_policy(policyName=name, target=target)
        self.assertEqual(self.iot.list_attached_policies(target=target)["policies"], [])
        unknown = target[:-64] + "0" * 64
        self.assertFails("ResourceNotFoundException", self.iot.attach_policy, policyName=name, target=unknown)

    def test_policies_are_listed_page_by_page(self):
        names = sorted(self.policy() for _ in range(5))
        for ascending in (True, False):
            found, marker = [], {}
            while True:
                page = self.iot.list_policies(pageSize=2, ascendingOrder=ascending, **marker)
                found += [policy["policyName"] for policy in page["policies"]]
                if "nextMarker" not in page:
                    break
                marker = {"marker": page["nextMarker"]}
            ours = [name for name in found if name in names]
            self.assertEqual(ours, names if ascending else names[::-1])

    def test_a_certificate_lives_from_registration_to_delete(self):
        for key in (("-newkey", "rsa:2048"), ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"), ("-newkey", "ed25519")):
            with self.subTest(key):
                pem = new_certificate(unique("device"), *key)
                registered = self.iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
                identifier = registered["certificateId"]
                self.assertEqual(identifier, certificate_id(pem))
                described = self.iot.describe_certificate(certificateId=identifier)["certificateDescription"]
                self.assertEqual((described["status"], certificate_id(described["certificatePem"])), ("ACTIVE", identifier))
                self.assertLess(described["validity"]["notBefore"], described["validity"]["notAfter"])
                self.assertFails("CertificateStateException", self.iot.delete_certificate, certificateId=identifier)
                self.iot.update_certificate(certificateId=identifier, newStatus="REVOKED")
                listed = [c for page in self.iot.get_paginator("list_certificates").paginate() for c in page["certificates"]]
                self.assertEqual([c["status"] for c in listed if c["certificateId"] == identifier], ["REVOKED"])
                self.iot.delete_certificate(certificateId=identifier)
                self.assertFails("ResourceNotFoundException", self.iot.describe_certificate, certificateId=identifier)

    def test_what_is_no_certificate_is_not_registered(self):
        good = new_certificate(unique("device"))
        for pem in ["x", good[:300], good.replace("CERTIFICATE", "PRIVATE KEY"), new_certificate("weak", "-newkey", "rsa:1024")]:
            with self.subTest(pem[:40]):
                code = "CertificateValidationException"
                self.assertFails(code, self.iot.register_certificate_without_ca, certificatePem=pem, status="ACTIVE")


if __name__ == "__main__":
    unittest.main()
