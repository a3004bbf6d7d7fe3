"""The data plane over HTTPS as boto3 calls it, with devices that are written with paho-mqtt at the other end."""

import base64
import json
import queue
import time
import unittest
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import paho.mqtt.client as mqtt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from test_boto3 import PATIENCE_SECONDS, PLATFORM, Boto3, client, unique

V4, V5 = mqtt.MQTTv311, mqtt.MQTTv5
ADMINISTRATIVE_ACTION = 0x98
# long enough for a message that is on its way, which nobody shall get
SILENCE_SECONDS = 1


class Device:
    """One connection, and queues of what it hears."""

    def __init__(self, test, protocol=V5, client_id=None, session_expiry=0, will=None, manual_ack=False):
        self.client_id = client_id or unique("paho")
        self.connected, self.subscribed = queue.Queue(), queue.Queue()
        self.messages, self.disconnected = queue.Queue(), queue.Queue()
        settings = {} if protocol == V5 else {"clean_session": session_expiry == 0}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=protocol,
            transport="websockets",
            reconnect_on_failure=False,
            manual_ack=manual_ack,
            **settings,
        )
        url = urlsplit(PLATFORM["mqtt"])
        self.mqtt.ws_set_options(path=url.path)
        self.mqtt.username_pw_set(PLATFORM["accessKeyId"], PLATFORM["secretAccessKey"])
        self.mqtt.on_connect = lambda _c, _d, flags, code, _p: self.connected.put((code, flags.session_present))
        self.mqtt.on_subscribe = lambda _c, _d, _id, codes, _p: self.subscribed.put([code.value for code in codes])
        self.mqtt.on_message = lambda _c, _d, message: self.messages.put(message)
        self.mqtt.on_disconnect = lambda _c, _d, _flags, code, _p: self.disconnected.put(code)
        if will:
            self.mqtt.will_set(will, "gone", qos=1)
        options = {"keepalive": 45}
        if protocol == V5:
            options["clean_start"] = session_expiry == 0
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = session_expiry
        self.mqtt.connect(url.hostname, url.port, **options)
        self.mqtt.loop_start()
        test.addCleanup(self.leave)
        code, self.session_present = self.connected.get(timeout=PATIENCE_SECONDS)
        test.assertFalse(code.is_failure, code)

    def subscribe(self, *filters, qos=1):
        self.mqtt.subscribe([(topic_filter, qos) for topic_filter in filters])
        return self.subscribed.get(timeout=PATIENCE_SECONDS)

    def hear(self):
        return self.messages.get(timeout=PATIENCE_SECONDS)

    def hears_nothing(self):
        try:
            return self.messages.get(timeout=SILENCE_SECONDS) is None
        except queue.Empty:
            return True

    def leave(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


class DataPlane(Boto3):
    def refused(self, name, call, **parameters):
        """The message of the error of this name, which `call` must raise."""
        with self.assertRaises(self.data.exceptions.ClientError) as raised:
            call(**parameters)
        self.assertEqual(raised.exception.response["Error"]["Code"], name, parameters)
        return raised.exception.response["Error"]["Message"]

    def eventually(self, what):
        """The first true answer. What follows from a closed connection is not at once known everywhere."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (answer := what()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        return answer

    def disappears(self, call, **parameters):
        def is_gone():
            try:
                call(**parameters)
            except self.data.exceptions.ResourceNotFoundException:
                return True
            return False

        self.eventually(is_gone)


class Publish(DataPlane):
    def test_a_message_reaches_devices_of_both_versions(self):
        topic = f"{unique('data')}/a b/ä"
        devices = [Device(self, protocol) for protocol in (V4, V5)]
        for device in devices:
            self.assertEqual(device.subscribe(f"{topic}/#"), [1])
        every_byte = bytes(range(256))
        for qos, payload in ((0, b"zero"), (1, every_byte), (1, b"")):
            self.data.publish(topic=topic, qos=qos, payload=payload)
            for device in devices:
                message = device.hear()
                self.assertEqual((message.topic, message.payload), (topic, payload))
                self.assertEqual((message.qos, message.retain), (qos, False))

    def test_messages_of_one_caller_arrive_in_their_order(self):
        topic = unique("data")
        device = Device(self)
        device.subscribe(topic)
        for number in range(30):
            self.data.publish(topic=topic, qos=1, payload=str(number))
        self.assertEqual([int(device.hear().payload) for _ in range(30)], list(range(30)))

    def test_the_properties_of_mqtt_5_arrive(self):
        topic = unique("data")
        old, new = Device(self, V4), Device(self, V5)
        for device in (old, new):
            device.subscribe(topic)
        self.data.publish(
            topic=topic,
            qos=1,
            payload=b"{}",
            userProperties=[{"deviceName": "alpha"}, {"deviceCnt": "45"}, {"deviceName": "bätä"}],
            payloadFormatIndicator="UTF8_DATA",
            contentType="application/json; charset=utf-8",
            responseTopic=f"{topic}/answers",
            correlationData=base64.b64encode(b"\x00\xff").decode(),
            messageExpiry=60,
        )
        properties = new.hear().properties
        pairs = [("deviceName", "alpha"), ("deviceCnt", "45"), ("deviceName", "bätä")]
        self.assertEqual(properties.UserProperty, pairs)
        self.assertEqual(properties.PayloadFormatIndicator, 1)
        self.assertEqual(properties.ContentType, "application/json; charset=utf-8")
        self.assertEqual((properties.ResponseTopic, properties.CorrelationData), (f"{topic}/answers", b"\x00\xff"))
        self.assertIn(properties.MessageExpiryInterval, range(30, 61))
        self.assertEqual(old.hear().payload, b"{}")

    def test_a_message_waits_for_a_device_that_is_away(self):
        topic = unique("data")
        device = Device(self, session_expiry=300)
        device.subscribe(topic)
        device.leave()
        for number in range(3):
            self.data.publish(topic=topic, qos=1, payload=str(number))
        again = Device(self, client_id=device.client_id, session_expiry=300)
        self.assertTrue(again.session_present)
        self.assertEqual([again.hear().payload for _ in range(3)], [b"0", b"1", b"2"])
        self.data.delete_connection(clientId=device.client_id, cleanSession=True)

    def test_a_request_to_a_shadow_is_carried_out(self):
        name = self.thing()
        topic = f"$aws/things/{name}/shadow/update"
        device = Device(self)
        device.subscribe(f"{topic}/accepted")
        self.data.publish(topic=topic, qos=1, payload=json.dumps({"state": {"reported": {"a": 1}}}))
        self.assertEqual(json.loads(device.hear().payload)["state"], {"reported": {"a": 1}})
        shadow = json.loads(self.data.get_thing_shadow(thingName=name)["payload"].read())
        self.assertEqual(shadow["state"], {"reported": {"a": 1}})

    def test_both_names_of_the_service_are_taken_and_the_answer_is_awss(self):
        credentials = Credentials(PLATFORM["accessKeyId"], PLATFORM["secretAccessKey"])
        url = f"{PLATFORM['endpoint']}/topics/{quote(unique('data'), safe='')}?qos=1"
        for service in ("iotdata", "iotdevicegateway"):
            with self.subTest(service):
                request = AWSRequest("POST", url, data=b"x")
                SigV4Auth(credentials, service, PLATFORM["region"]).add_auth(request)
                with urlopen(Request(url, b"x", dict(request.headers)), timeout=PATIENCE_SECONDS) as answer:
                    body = json.load(answer)
                    self.assertEqual(body, {"message": "OK", "traceId": answer.headers["x-amzn-RequestId"]})

    def test_what_is_wrong_with_a_message_has_awss_error_classes(self):
        for name, parameters in (
            ("InvalidRequestException", {"topic": "a/+"}),
            ("InvalidRequestException", {"topic": "a/#"}),
            ("InvalidRequestException", {"qos": 2}),
            ("InvalidRequestException", {"messageExpiry": -1}),
            ("InvalidRequestException", {"responseTopic": "a/#"}),
            ("InvalidRequestException", {"correlationData": "not base64!"}),
            ("InvalidRequestException", {"payloadFormatIndicator": "TEXT"}),
            ("InvalidRequestException", {"userProperties": {"not": "an array"}}),
            ("InvalidRequestException", {"userProperties": [{"number": 1}]}),
            ("InvalidRequestException", {"topic": "$aws/things/t/shadow/update", "retain": True}),
            ("ForbiddenException", {"topic": "$aws/events/presence/connected/c"}),
            ("ForbiddenException", {"topic": "$aws/things/t/shadow/update/accepted"}),
            ("ForbiddenException", {"topic": "$SYS/x"}),
            ("RequestEntityTooLargeException", {"payload": bytes(1024 * 1024 + 1)}),
        ):
            with self.subTest(list(parameters.items())[0][0], wanted=name):
                self.assertTrue(self.refused(name, self.data.publish, **{"topic": "t", "payload": b"x", **parameters}))
        # it may be larger than AWS's limit
        self.data.publish(topic=unique("data"), payload=bytes(500 * 1024))


class RetainedMessages(DataPlane):
    def retain(self, topic, payload=b"kept", **parameters):
        self.data.publish(topic=topic, payload=payload, retain=True, qos=1, **parameters)
        self.addCleanup(self.data.publish, topic=topic, payload=b"", retain=True, qos=1)

    def test_a_message_is_kept_until_an_empty_one_comes(self):
        topic = f"{unique('data')}/deep/er/and/deep/er"
        before = int(time.time() * 1000)
        self.retain(topic, b"\x00\xff", userProperties=[{"a": "1"}, {"a": "2"}])
        kept = self.data.get_retained_message(topic=topic)
        self.assertEqual((kept["topic"], kept["payload"], kept["qos"]), (topic, b"\x00\xff", 1))
        self.assertEqual(json.loads(kept["userProperties"]), [{"a": "1"}, {"a": "2"}])
        # the clocks are one and the same, up to how coarse the platform's is
        self.assertIn(kept["lastModifiedTime"], range(before - 1_000, int(time.time() * 1000) + 1_000))

        for protocol in (V4, V5):
            device = Device(self, protocol)
            device.subscribe(topic)
            message = device.hear()
            self.assertEqual((message.topic, message.payload, message.retain), (topic, b"\x00\xff", True))

        self.data.publish(topic=topic, payload=b"", retain=True, qos=1)
        self.refused("ResourceNotFoundException", self.data.get_retained_message, topic=topic)

    def test_what_a_device_leaves_is_found(self):
        topic = unique("data")
        device = Device(self)
        device.mqtt.publish(topic, b"mine", qos=1, retain=True).wait_for_publish(PATIENCE_SECONDS)
        self.addCleanup(self.data.publish, topic=topic, payload=b"", retain=True, qos=1)
        kept = self.data.get_retained_message(topic=topic)
        self.assertEqual((kept["payload"], kept.get("userProperties")), (b"mine", None))

    def test_a_paginator_finds_every_topic_once_and_in_order(self):
        root = unique("data")
        topics = [f"{root}/{number}" for number in range(7)] + [f"{root}-{number}/x" for number in range(4)]
        for topic in topics:
            self.retain(topic, b"12345")
        pages = self.data.get_paginator("list_retained_messages").paginate(PaginationConfig={"PageSize": 3})
        found = []
        for page in pages:
            self.assertLessEqual(len(page["retainedTopics"]), 3)
            found += page["retainedTopics"]
        names = [row["topic"] for row in found]
        self.assertEqual(names, sorted(set(names)))
        mine = {row["topic"]: (row["payloadSize"], row["qos"]) for row in found if row["topic"].startswith(root)}
        self.assertEqual(mine, {topic: (5, 1) for topic in topics})

    def test_a_message_that_has_expired_is_not_there(self):
        topic = unique("data")
        self.retain(topic, messageExpiry=2)
        self.assertEqual(self.data.get_retained_message(topic=topic)["payload"], b"kept")
        self.disappears(self.data.get_retained_message, topic=topic)
        pages = self.data.get_paginator("list_retained_messages").paginate()
        self.assertNotIn(topic, [row["topic"] for page in pages for row in page["retainedTopics"]])

    def test_bad_requests_have_awss_error_classes(self):
        self.refused("ResourceNotFoundException", self.data.get_retained_message, topic=unique("data"))
        self.refused("InvalidRequestException", self.data.get_retained_message, topic="a/+")
        self.refused("InvalidRequestException", self.data.list_retained_messages, maxResults=201)
        self.refused("InvalidRequestException", self.data.list_retained_messages, nextToken="no token of yours")


class Connections(DataPlane):
    def test_a_connection_is_described_while_it_lasts_and_after(self):
        for protocol, expiry in ((V4, 0), (V5, 0), (V4, 300), (V5, 300)):
            with self.subTest(protocol=protocol, expiry=expiry):
                before = int(time.time() * 1000)
                device = Device(self, protocol, session_expiry=expiry)
                here = self.data.get_connection(clientId=device.client_id)
                self.assertEqual((here["clientId"], here["connected"]), (device.client_id, True))
                self.assertEqual((here["cleanSession"], here["keepAliveDuration"]), (expiry == 0, 45))
                self.assertIn(here["connectedSince"], range(before - 1_000, int(time.time() * 1000) + 1_000))
                self.assertNotIn("disconnectReason", here)
                self.assertNotIn("sourceIp", here)
                if protocol == V5:
                    self.assertEqual(here["sessionExpiry"], expiry)
                self.data.get_connection(clientId=device.client_id, includeSocketInformation=True)

                device.leave()
                gone = self.eventually(lambda name=device.client_id: self.without_connection(name))
                self.assertEqual(gone["disconnectReason"], "CLIENT_INITIATED_DISCONNECT")
                self.assertGreaterEqual(gone["disconnectedSince"], here["connectedSince"])
                self.assertNotIn("connectedSince", gone)
                if expiry:
                    self.data.delete_connection(clientId=device.client_id, cleanSession=True)

    def without_connection(self, client_id):
        state = self.data.get_connection(clientId=client_id)
        return None if state["connected"] else state

    def test_a_connection_is_ended_and_the_will_published_or_not(self):
        for protocol in (V4, V5):
            for prevents in (False, True):
                with self.subTest(protocol=protocol, prevents=prevents):
                    topic = unique("will")
                    witness, device = Device(self), Device(self, protocol, will=topic)
                    witness.subscribe(topic)
                    self.data.delete_connection(clientId=device.client_id, preventWillMessage=prevents)
                    code = device.disconnected.get(timeout=PATIENCE_SECONDS)
                    if protocol == V5:
                        self.assertEqual(code.value, ADMINISTRATIVE_ACTION)
                    if prevents:
                        self.assertTrue(witness.hears_nothing())
                    else:
                        self.assertEqual(witness.hear().payload, b"gone")
                    gone = self.eventually(lambda name=device.client_id: self.without_connection(name))
                    self.assertEqual(gone["disconnectReason"], "API_INITIATED_DISCONNECT")
                    # it had no session that could be there still
                    self.refused("ResourceNotFoundException", self.data.delete_connection, clientId=device.client_id)

    def test_a_session_outlives_its_connection_unless_it_is_cleaned(self):
        device = Device(self, session_expiry=300)
        device.subscribe("a/b")
        self.data.delete_connection(clientId=device.client_id)
        device.disconnected.get(timeout=PATIENCE_SECONDS)
        again = Device(self, client_id=device.client_id, session_expiry=300)
        self.assertTrue(again.session_present)

        self.data.delete_connection(clientId=device.client_id, cleanSession=True)
        again.disconnected.get(timeout=PATIENCE_SECONDS)
        self.disappears(self.data.list_subscriptions, clientId=device.client_id)
        third = Device(self, client_id=device.client_id, session_expiry=300)
        self.assertFalse(third.session_present)

        # the session of a client that is away can be cleaned, too
        third.leave()
        self.eventually(lambda: self.without_connection(device.client_id))
        self.data.delete_connection(clientId=device.client_id, cleanSession=True)
        self.disappears(self.data.list_subscriptions, clientId=device.client_id)

    def test_subscriptions_are_listed_whoever_knows_them(self):
        filters = ["$share/group/a/#", "a/+/c", "b", "c/#", "ä/+"]
        for expiry in (0, 300):
            with self.subTest(expiry=expiry):
                device = Device(self, session_expiry=expiry)
                self.assertEqual(self.all_subscriptions(device.client_id), [])
                device.subscribe(*filters[:3], qos=1)
                device.subscribe(*filters[3:], qos=0)
                expected = [(name, int(name in filters[:3])) for name in sorted(filters)]
                self.assertEqual(self.all_subscriptions(device.client_id), expected)
                self.assertEqual(self.all_subscriptions(device.client_id, maxResults=2), expected)
                device.leave()
                if expiry == 0:
                    self.disappears(self.data.list_subscriptions, clientId=device.client_id)
                else:
                    self.eventually(lambda name=device.client_id: self.without_connection(name))
                    self.assertEqual(self.all_subscriptions(device.client_id), expected)
                    self.data.delete_connection(clientId=device.client_id, cleanSession=True)

    def all_subscriptions(self, client_id, **parameters):
        found, token = [], {}
        while True:
            page = self.data.list_subscriptions(clientId=client_id, **parameters, **token)
            self.assertLessEqual(len(page["subscriptions"]), parameters.get("maxResults", 20))
            found += [(row["topicFilter"], row["qos"]) for row in page["subscriptions"]]
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    def test_client_identifiers_may_have_any_characters(self):
        device = Device(self, client_id=f"{unique('paho')}/a b/ä?#+%41")
        self.assertEqual(self.data.get_connection(clientId=device.client_id)["clientId"], device.client_id)
        self.assertEqual(self.all_subscriptions(device.client_id), [])
        self.data.send_direct_message(clientId=device.client_id, topic="t", payload=b"x", confirmation=True)
        self.assertEqual(device.hear().payload, b"x")
        self.data.delete_connection(clientId=device.client_id)
        device.disconnected.get(timeout=PATIENCE_SECONDS)

    def test_unknown_clients_and_bad_requests_have_awss_error_classes(self):
        nobody = {"clientId": unique("nobody")}
        for call in (self.data.get_connection, self.data.delete_connection, self.data.list_subscriptions):
            self.refused("ResourceNotFoundException", call, **nobody)
            self.refused("InvalidRequestException", call, clientId="x" * 1_025)
        self.refused("InvalidRequestException", self.data.list_subscriptions, **nobody, maxResults=201)
        self.refused("InvalidRequestException", self.data.list_subscriptions, **nobody, nextToken="no token of yours")


class DirectMessages(DataPlane):
    def test_a_device_gets_what_is_sent_to_it_alone_without_a_subscription(self):
        topic = unique("data")
        witness = Device(self)
        witness.subscribe(topic)
        for protocol in (V4, V5):
            for expiry in (0, 300):
                for confirmation in (False, True):
                    with self.subTest(protocol=protocol, expiry=expiry, confirmation=confirmation):
                        device = Device(self, protocol, session_expiry=expiry)
                        answer = self.data.send_direct_message(
                            clientId=device.client_id, topic=topic, payload=b"\x00\xff", confirmation=confirmation
                        )
                        self.assertEqual(answer["message"], "OK")
                        self.assertEqual(answer["traceId"], answer["ResponseMetadata"]["RequestId"])
                        message = device.hear()
                        self.assertEqual((message.topic, message.payload), (topic, b"\x00\xff"))
                        self.assertEqual((message.qos, message.retain), (int(confirmation), False))
                        if expiry:
                            self.data.delete_connection(clientId=device.client_id, cleanSession=True)
        self.assertTrue(witness.hears_nothing())

    def test_the_properties_of_mqtt_5_arrive(self):
        device = Device(self)
        self.data.send_direct_message(
            clientId=device.client_id,
            topic="t",
            payload=b"{}",
            userProperties=[{"a": "1"}, {"a": "2"}],
            payloadFormatIndicator="UTF8_DATA",
            contentType="application/json",
            responseTopic="answers",
            correlationData=base64.b64encode(b"\x00\xff").decode(),
        )
        properties = device.hear().properties
        self.assertEqual(properties.UserProperty, [("a", "1"), ("a", "2")])
        self.assertEqual((properties.PayloadFormatIndicator, properties.ContentType), (1, "application/json"))
        self.assertEqual((properties.ResponseTopic, properties.CorrelationData), ("answers", b"\x00\xff"))

    def test_a_device_that_does_not_acknowledge_in_time_is_told(self):
        # For a session that outlives its connection the message is done when it is safe: see the README's gaps.
        for expiry in (0,):
            with self.subTest(expiry=expiry):
                device = Device(self, session_expiry=expiry, manual_ack=True)
                message = {"clientId": device.client_id, "topic": "t", "payload": b"x"}
                with self.assertRaises(self.data.exceptions.GatewayTimeoutException) as raised:
                    self.data.send_direct_message(**message, confirmation=True, timeout=1)
                self.assertEqual(raised.exception.response["ResponseMetadata"]["HTTPStatusCode"], 504)
                self.assertEqual(device.hear().payload, b"x")
                # nobody waits for what needs no confirmation
                self.data.send_direct_message(**message)
                self.assertEqual(device.hear().qos, 0)
                self.data.delete_connection(clientId=device.client_id, cleanSession=True)

    def test_who_is_away_gets_nothing_now_or_later(self):
        device = Device(self, session_expiry=300)
        device.leave()
        self.eventually(lambda: not self.data.get_connection(clientId=device.client_id)["connected"])
        message = {"clientId": device.client_id, "topic": "t", "payload": b"x", "confirmation": True}
        self.refused("ResourceNotFoundException", self.data.send_direct_message, **message)
        again = Device(self, client_id=device.client_id, session_expiry=300)
        self.assertTrue(again.hears_nothing())
        self.data.delete_connection(clientId=device.client_id, cleanSession=True)

    def test_bad_requests_have_awss_error_classes(self):
        device = Device(self)
        for name, parameters in (
            ("ResourceNotFoundException", {"clientId": unique("nobody")}),
            ("InvalidRequestException", {"topic": "a/+"}),
            ("InvalidRequestException", {"topic": ""}),
            ("InvalidRequestException", {"confirmation": True, "timeout": 0}),
            ("InvalidRequestException", {"confirmation": True, "timeout": 16}),
            ("InvalidRequestException", {"correlationData": "not base64!"}),
            ("ForbiddenException", {"topic": "$aws/things/t/shadow/update/delta"}),
            ("RequestEntityTooLargeException", {"payload": bytes(1024 * 1024 + 1)}),
        ):
            with self.subTest(list(parameters.items())[0][0], wanted=name):
                message = {"clientId": device.client_id, "topic": "t", "payload": b"x", **parameters}
                self.refused(name, self.data.send_direct_message, **message)
        self.assertTrue(device.hears_nothing())


class Strangers(DataPlane):
    def test_nothing_is_open_with_the_wrong_secret(self):
        stranger = client("iot-data", aws_secret_access_key="x" * 40)
        self.addCleanup(stranger.close)
        for call, parameters in (
            (stranger.publish, {"topic": "t"}),
            (stranger.get_retained_message, {"topic": "t"}),
            (stranger.list_retained_messages, {}),
            (stranger.get_connection, {"clientId": "c"}),
            (stranger.delete_connection, {"clientId": "c"}),
            (stranger.list_subscriptions, {"clientId": "c"}),
            (stranger.send_direct_message, {"clientId": "c", "topic": "t"}),
        ):
            self.refused("InvalidSignatureException", call, **parameters)


if __name__ == "__main__":
    unittest.main()
