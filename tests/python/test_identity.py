"""Where certificates come from, and who else is let in, through AWS's SDK for Python, unmodified."""

import subprocess
import tempfile
import unittest
from pathlib import Path

from botocore.exceptions import ClientError

from test_boto3 import PLATFORM, Boto3, unique
from test_policies import DOCUMENT, certificate_id


class Authority:
    """A certificate authority, made by openssl."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        extensions = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
        self.openssl("req", "-x509", *self.key("ca"), "-subj", f"/CN={unique('ca')}", "-days", "2", *extensions, "-out", "ca.pem")
        self.pem = (self.path / "ca.pem").read_text()

    def key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"]

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.path)

    def request(self, name):
        self.openssl("req", "-new", *self.key("device"), "-subj", f"/CN={name}", "-out", "device.csr")
        return (self.path / "device.csr").read_text()

    def issue(self, name):
        self.request(name)
        self.openssl("x509", "-req", "-in", "device.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "device.pem")
        return (self.path / "device.pem").read_text()


class Identity(Boto3):
    def assertFails(self, code, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)

    def delete(self, certificate):
        self.iot.update_certificate(certificateId=certificate, newStatus="INACTIVE")
        self.iot.delete_certificate(certificateId=certificate, forceDelete=True)

    def test_keys_and_a_certificate_are_made(self):
        made = self.iot.create_keys_and_certificate(setAsActive=True)
        self.addCleanup(self.delete, made["certificateId"])
        self.assertEqual(certificate_id(made["certificatePem"]), made["certificateId"])
        self.assertTrue(made["keyPair"]["PrivateKey"].startswith("-----BEGIN RSA PRIVATE KEY-----"))
        described = self.iot.describe_certificate(certificateId=made["certificateId"])["certificateDescription"]
        self.assertEqual((described["status"], described["ownedBy"]), ("ACTIVE", PLATFORM["accountId"]))

    def test_a_request_is_signed(self):
        made = self.iot.create_certificate_from_csr(certificateSigningRequest=Authority().request("lamp"))
        self.addCleanup(self.delete, made["certificateId"])
        self.assertEqual(certificate_id(made["certificatePem"]), made["certificateId"])
        self.assertFails("InvalidRequestException", self.iot.create_certificate_from_csr, certificateSigningRequest="x")

    def test_an_authority_registers_devices(self):
        authority = Authority()
        code = self.iot.get_registration_code()["registrationCode"]
        self.assertRegex(code, "^[0-9a-f]{64}$")
        self.assertFails(
            "RegistrationCodeValidationException",
            self.iot.register_ca_certificate,
            caCertificate=authority.pem,
            verificationCertificate=authority.issue("no code"),
        )
        ca = self.iot.register_ca_certificate(
            caCertificate=authority.pem, verificationCertificate=authority.issue(code), setAsActive=True
        )["certificateId"]
        made = self.iot.register_certificate(certificatePem=authority.issue("lamp"), caCertificatePem=authority.pem, setAsActive=True)
        listed = self.iot.list_certificates_by_ca(caCertificateId=ca)["certificates"]
        self.assertEqual([one["certificateId"] for one in listed], [made["certificateId"]])
        self.delete(made["certificateId"])
        self.assertFails("CertificateStateException", self.iot.delete_ca_certificate, certificateId=ca)
        self.iot.update_ca_certificate(certificateId=ca, newStatus="INACTIVE", newAutoRegistrationStatus="ENABLE")
        described = self.iot.describe_ca_certificate(certificateId=ca)["certificateDescription"]
        self.assertEqual((described["status"], described["autoRegistrationStatus"]), ("INACTIVE", "ENABLE"))
        self.iot.delete_ca_certificate(certificateId=ca)
        self.assertFails("ResourceNotFoundException", self.iot.describe_ca_certificate, certificateId=ca)

    def test_a_thing_has_principals(self):
        name, made = unique("thing"), self.iot.create_keys_and_certificate()
        self.addCleanup(self.delete, made["certificateId"])
        arn = made["certificateArn"]
        self.iot.create_thing(thingName=name)
        self.iot.attach_thing_principal(thingName=name, principal=arn)
        self.assertEqual(self.iot.list_thing_principals(thingName=name)["principals"], [arn])
        objects = self.iot.list_thing_principals_v2(thingName=name)["thingPrincipalObjects"]
        self.assertEqual(objects, [{"principal": arn, "thingPrincipalType": "NON_EXCLUSIVE_THING"}])
        self.assertEqual(self.iot.list_principal_things(principal=arn)["things"], [name])
        self.assertFails("DeleteConflictException", self.iot.delete_certificate, certificateId=made["certificateId"], forceDelete=True)
        self.iot.detach_thing_principal(thingName=name, principal=arn)
        self.iot.delete_thing(thingName=name)

    def test_older_operations_attach_policies_too(self):
        policy, made = unique("policy"), self.iot.create_keys_and_certificate()
        arn = made["certificateArn"]
        self.iot.create_policy(policyName=policy, policyDocument=DOCUMENT)
        self.iot.attach_principal_policy(policyName=policy, principal=arn)
        self.assertEqual(self.iot.list_policy_principals(policyName=policy)["principals"], [arn])
        self.assertEqual([one["policyName"] for one in self.iot.list_principal_policies(principal=arn)["policies"]], [policy])
        resource = f"arn:aws:iot:{PLATFORM['region']}:{PLATFORM['accountId']}:topic/a"
        asked = self.iot.test_authorization(principal=arn, authInfos=[{"actionType": "PUBLISH", "resources": [resource]}])
        self.assertEqual([one["authDecision"] for one in asked["authResults"]], ["ALLOWED"])
        skipped = self.iot.test_authorization(
            principal=arn, policyNamesToSkip=[policy], authInfos=[{"actionType": "PUBLISH", "resources": [resource]}]
        )
        self.assertEqual([one["authDecision"] for one in skipped["authResults"]], ["IMPLICIT_DENY"])
        self.iot.detach_principal_policy(policyName=policy, principal=arn)
        self.delete(made["certificateId"])
        self.iot.delete_policy(policyName=policy)

    def test_authorizers_and_role_aliases_are_listed_page_by_page(self):
        names = sorted(unique("identity") for _ in range(3))
        for name in names:
            function = f"arn:aws:lambda:{PLATFORM['region']}:{PLATFORM['accountId']}:function:{name}"
            self.iot.create_authorizer(authorizerName=name, authorizerFunctionArn=function, signingDisabled=True)
            self.addCleanup(self.iot.delete_authorizer, authorizerName=name)
            self.iot.create_role_alias(roleAlias=name, roleArn=f"arn:aws:iam::{PLATFORM['accountId']}:role/{name}")
            self.addCleanup(self.iot.delete_role_alias, roleAlias=name)
        pages = self.iot.get_paginator("list_authorizers").paginate(PaginationConfig={"PageSize": 1})
        found = [one["authorizerName"] for page in pages for one in page["authorizers"]]
        self.assertEqual([name for name in found if name in names], names)
        pages = self.iot.get_paginator("list_role_aliases").paginate(PaginationConfig={"PageSize": 1})
        found = [name for page in pages for name in page["roleAliases"]]
        self.assertEqual([name for name in found if name in names], names)


if __name__ == "__main__":
    unittest.main()
