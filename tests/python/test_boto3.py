"""AWS's SDK for Python and paho-mqtt, unmodified, against the running platform."""

import json
import os
import queue
import unittest
import uuid
from urllib.parse import urlsplit

import boto3
import paho.mqtt.client as mqtt
from botocore.config import Config

PATIENCE_SECONDS = 20
ROOM = {"attributes": {"room": "hall"}}

if "UMBRA_PLATFORM" not in os.environ:
    raise SystemExit(
        "UMBRA_PLATFORM is not set: run `cargo xtask test --only python`, "
        "or give it the line that `cargo xtask dev --json` prints"
    )
PLATFORM = json.loads(os.environ["UMBRA_PLATFORM"])


def client(service, **other):
    """What the platform answers is what a test sees: nothing is tried again."""
    settings = {
        "endpoint_url": PLATFORM["endpoint"],
        "region_name": PLATFORM["region"],
        "aws_access_key_id": PLATFORM["accessKeyId"],
        "aws_secret_access_key": PLATFORM["secretAccessKey"],
        "config": Config(retries={"max_attempts": 0}),
    }
    return boto3.client(service, **{**settings, **other})


def unique(prefix):
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


class Boto3(unittest.TestCase):
    def setUp(self):
        self.iot = client("iot")
        self.data = client("iot-data")
        self.addCleanup(self.iot.close)
        self.addCleanup(self.data.close)

    def thing(self, **attributes):
        name = unique("boto3")
        self.iot.create_thing(thingName=name, **attributes)
        self.addCleanup(self.iot.delete_thing, thingName=name)
        return name


class Things(Boto3):
    def test_a_thing_lives_from_create_to_delete(self):
        name = unique("boto3")
        created = self.iot.create_thing(thingName=name, attributePayload=ROOM)
        arn = f"arn:aws:iot:{PLATFORM['region']}:{PLATFORM['accountId']}:thing/{name}"
        self.assertEqual((created["thingName"], created["thingArn"]), (name, arn))

        described = self.iot.describe_thing(thingName=name)
        self.assertEqual(described["thingId"], created["thingId"])
        self.assertEqual((described["attributes"], described["version"]), ({"room": "hall"}, 1))

        change = {"attributes": {"floor": "2"}, "merge": True}
        self.iot.update_thing(thingName=name, attributePayload=change, expectedVersion=1)
        described = self.iot.describe_thing(thingName=name)
        self.assertEqual((described["attributes"], described["version"]), ({"floor": "2", "room": "hall"}, 2))

        self.iot.delete_thing(thingName=name)
        with self.assertRaises(self.iot.exceptions.ResourceNotFoundException):
            self.iot.describe_thing(thingName=name)
        # AWS: deleting what is not there succeeds
        self.iot.delete_thing(thingName=name)

    def test_the_same_thing_may_be_created_twice_and_another_one_not(self):
        name = self.thing(attributePayload=ROOM)
        self.iot.create_thing(thingName=name, attributePayload=ROOM)
        with self.assertRaises(self.iot.exceptions.ResourceAlreadyExistsException) as raised:
            self.iot.create_thing(thingName=name)
        self.assertEqual(raised.exception.response["resourceId"], name)

    def test_an_update_of_another_version_conflicts(self):
        name = self.thing()
        with self.assertRaises(self.iot.exceptions.VersionConflictException):
            self.iot.update_thing(thingName=name, expectedVersion=9)

    def test_a_paginator_finds_every_thing_once(self):
        names = {self.thing() for _ in range(7)}
        pages = self.iot.get_paginator("list_things").paginate(PaginationConfig={"PageSize": 3})
        found = [thing["thingName"] for page in pages for thing in page["things"]]
        self.assertEqual(len(found), len(set(found)))
        self.assertLessEqual(names, set(found))

    def test_bad_parameters_and_credentials_have_awss_error_classes(self):
        with self.assertRaises(self.iot.exceptions.InvalidRequestException):
            self.iot.list_things(nextToken="no token of yours")
        for wrong, code in (
            ({"aws_secret_access_key": "x" * 40}, "InvalidSignatureException"),
            ({"aws_access_key_id": "AKIAUNKNOWNUNKNOWN"}, "UnrecognizedClientException"),
            ({"region_name": "eu-central-1"}, "InvalidSignatureException"),
        ):
            stranger = client("iot", **wrong)
            self.addCleanup(stranger.close)
            with self.subTest(wrong), self.assertRaises(stranger.exceptions.ClientError) as raised:
                stranger.list_things()
            self.assertEqual(raised.exception.response["Error"]["Code"], code)
            self.assertEqual(raised.exception.response["ResponseMetadata"]["HTTPStatusCode"], 403)


class Shadows(Boto3):
    def update(self, name, document):
        answer = self.data.update_thing_shadow(thingName=name, payload=json.dumps(document))
        return json.loads(answer["payload"].read())

    def test_a_shadow_lives_from_update_to_delete(self):
        name = self.thing()
        self.assertEqual(self.update(name, {"state": {"reported": {"color": "blue"}}})["version"], 1)
        self.assertEqual(self.update(name, {"state": {"desired": {"color": "red"}}})["version"], 2)
        shadow = json.loads(self.data.get_thing_shadow(thingName=name)["payload"].read())
        self.assertEqual(
            shadow["state"],
            {"desired": {"color": "red"}, "reported": {"color": "blue"}, "delta": {"color": "red"}},
        )
        with self.assertRaises(self.data.exceptions.ConflictException):
            self.update(name, {"state": {"desired": {"color": "green"}}, "version": 1})
        self.data.delete_thing_shadow(thingName=name)
        with self.assertRaises(self.data.exceptions.ResourceNotFoundException):
            self.data.get_thing_shadow(thingName=name)

    def test_a_document_that_is_none_is_an_invalid_request(self):
        name = self.thing()
        with self.assertRaises(self.data.exceptions.InvalidRequestException):
            self.data.update_thing_shadow(thingName=name, payload=b"not json")


class RulesAndJobs(Boto3):
    def test_a_rule_is_created_read_listed_and_deleted(self):
        name = unique("boto3").replace("-", "_")
        payload = {
            "sql": f"SELECT temp FROM '{name}/+' WHERE temp > 20",
            "awsIotSqlVersion": "2016-03-23",
            "actions": [{"http": {"url": "http://127.0.0.1:9/"}}],
        }
        self.iot.create_topic_rule(ruleName=name, topicRulePayload=payload)
        self.addCleanup(self.iot.delete_topic_rule, ruleName=name)
        rule = self.iot.get_topic_rule(ruleName=name)["rule"]
        self.assertEqual((rule["ruleName"], rule["sql"], rule["ruleDisabled"]), (name, payload["sql"], False))
        self.assertEqual(rule["actions"][0]["http"]["url"], "http://127.0.0.1:9/")
        self.assertIn(name, [rule["ruleName"] for rule in self.iot.list_topic_rules()["rules"]])
        with self.assertRaises(self.iot.exceptions.ResourceAlreadyExistsException):
            self.iot.create_topic_rule(ruleName=name, topicRulePayload=payload)
        with self.assertRaises(self.iot.exceptions.SqlParseException):
            payload = {**payload, "sql": "SELECT FROM WHERE"}
            self.iot.create_topic_rule(ruleName=unique("boto3").replace("-", "_"), topicRulePayload=payload)

    def test_a_job_waits_for_its_thing(self):
        name, job = self.thing(), unique("boto3")
        arn = self.iot.describe_thing(thingName=name)["thingArn"]
        created = self.iot.create_job(jobId=job, targets=[arn], document='{"operation": "blink"}')
        self.assertEqual(created["jobId"], job)
        described = self.iot.describe_job(jobId=job)["job"]
        self.assertEqual((described["status"], described["targets"]), ("IN_PROGRESS", [arn]))
        self.assertIn(job, [summary["jobId"] for summary in self.iot.list_jobs()["jobs"]])
        with self.assertRaises(self.iot.exceptions.ResourceNotFoundException):
            self.iot.describe_job(jobId=unique("boto3"))


class Paho(Boto3):
    """A device that is written with paho-mqtt."""

    def connect(self, protocol, password=PLATFORM["secretAccessKey"]):
        """The connected device, and the queue of what it hears: `(topic, payload)`."""
        url = urlsplit(PLATFORM["mqtt"])
        device = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=unique("paho"), protocol=protocol, transport="websockets"
        )
        device.ws_set_options(path=url.path)
        device.username_pw_set(PLATFORM["accessKeyId"], password)
        connected, subscribed, heard = queue.Queue(), queue.Queue(), queue.Queue()
        device.on_connect = lambda _client, _data, _flags, code, _properties: connected.put(code)
        device.on_subscribe = lambda _client, _data, _id, codes, _properties: subscribed.put(codes)
        device.on_message = lambda _client, _data, message: heard.put((message.topic, json.loads(message.payload)))
        device.connect(url.hostname, url.port)
        device.loop_start()
        self.addCleanup(device.loop_stop)
        self.addCleanup(device.disconnect)
        return device, connected.get(timeout=PATIENCE_SECONDS), subscribed, heard

    def test_a_device_learns_what_it_shall_become_and_reports_it(self):
        for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
            with self.subTest(protocol):
                name = self.thing()
                shadow = f"$aws/things/{name}/shadow"
                device, code, subscribed, heard = self.connect(protocol)
                self.assertFalse(code.is_failure, code)
                device.subscribe([(f"{shadow}/update/delta", 1), (f"{shadow}/update/accepted", 1)])
                self.assertEqual([code.value for code in subscribed.get(timeout=PATIENCE_SECONDS)], [1, 1])

                desired = {"state": {"desired": {"color": "red"}}}
                self.data.update_thing_shadow(thingName=name, payload=json.dumps(desired))
                messages = dict(heard.get(timeout=PATIENCE_SECONDS) for _ in range(2))
                self.assertEqual(messages[f"{shadow}/update/delta"]["state"], {"color": "red"})

                reported = {"state": {"reported": {"color": "red"}}, "clientToken": "t"}
                device.publish(f"{shadow}/update", json.dumps(reported), qos=1).wait_for_publish(PATIENCE_SECONDS)
                topic, message = heard.get(timeout=PATIENCE_SECONDS)
                self.assertEqual((topic, message["clientToken"]), (f"{shadow}/update/accepted", "t"))
                state = json.loads(self.data.get_thing_shadow(thingName=name)["payload"].read())["state"]
                self.assertEqual(state, {"desired": {"color": "red"}, "reported": {"color": "red"}})

    def test_a_wrong_password_is_refused(self):
        for protocol in (mqtt.MQTTv311, mqtt.MQTTv5):
            with self.subTest(protocol):
                _, code, _, _ = self.connect(protocol, password="wrong")
                self.assertEqual(str(code), "Bad user name or password")


if __name__ == "__main__":
    unittest.main()
