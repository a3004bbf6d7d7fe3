"""Prints rows of sdk-vectors.tsv signed by botocore (see README.md beside this file).

Needs `pip install botocore`. Run: python3 generate_sdk_vectors.py
"""

import datetime
from urllib.parse import urlsplit

import botocore.auth
import botocore.session
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.credentials import Credentials

KEY = "AKIDEXAMPLEEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FQoGZXIvYXdzEPT//////////wEaDEXAMPLE+token/with=specials=="
HOST = "abc123-ats.iot.us-east-1.amazonaws.com"
NOW = datetime.datetime(2025, 1, 30, 12, 34, 56, tzinfo=datetime.timezone.utc)
botocore.auth.get_current_datetime = lambda *a, **k: NOW.replace(tzinfo=None)


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def text(value):
    return value.decode() if isinstance(value, bytes) else (value or "")


def row(name, service, token, request):
    parts = urlsplit(request.url)
    headers = {k: text(v) for k, v in request.headers.items() if k.lower() != "user-agent"}
    headers.setdefault("Host", parts.netloc)
    lines = "\n".join(f"{k}:{v}" for k, v in headers.items())
    cells = [name, service, token or "", request.method, parts.path, parts.query, lines, text(request.body)]
    print("\t".join(escape(cell) for cell in cells))


def credentials(token=None):
    return Credentials(KEY, SECRET, token)


def signed(name, method, target, headers=None, body=b"", service="iotdata", token=None):
    request = AWSRequest(method, f"https://{HOST}{target}", headers=headers or {}, data=body)
    SigV4Auth(credentials(token), service, "us-east-1").add_auth(request)
    row(name, service, token, request.prepare())


def presigned(name, target, service="iotdevicegateway", token=None, expires=3600):
    request = AWSRequest("GET", f"wss://{HOST}{target}")
    SigV4QueryAuth(credentials(token), service, "us-east-1", expires=expires).add_auth(request)
    row(name, service, token, request.prepare())


def appended(name, target, token):
    """What AWS's own IoT clients do: sign without the token, then append it."""
    request = AWSRequest("GET", f"wss://{HOST}{target}")
    SigV4QueryAuth(credentials(), "iotdevicegateway", "us-east-1", expires=300).add_auth(request)
    prepared = request.prepare()
    quoted = botocore.auth.quote(token, safe="-_.~")
    prepared.url += f"&X-Amz-Security-Token={quoted}"
    row(name, "iotdevicegateway", token, prepared)


def client(name, service, scope, operation, token=None, **arguments):
    session = botocore.session.Session()
    session.set_credentials(KEY, SECRET, token)
    made = session.create_client(service, region_name="us-east-1", endpoint_url=f"https://{HOST}")

    def answer(request, **_):
        row(name, scope, token, request)
        response = AWSResponse(request.url, 200, {}, None)
        response._content = b"{}"
        return response

    made.meta.events.register("before-send", answer)
    getattr(made, operation)(**arguments)


paths = [
    "/", "/things", "/things/a:b", "/things/a%3Ab", "/topics/a%2Fb", "/topics/%24aws%2Fthings%2Ft%2Fshadow",
    "/topics/caf%C3%A9", "/topics/a%20b", "/topics/a+b", "/topics/~._-", "/topics/!'()*", "/topics/100%25",
    "/topics/a%252Fb", "/things/x/", "/a/b/c/d", "/topics/@$&,;=:",
]
for path in paths:
    signed(f"botocore path {path}", "POST", path, {"Content-Type": "application/json"}, b'{"on":true}')
queries = [
    "qos=1", "a=", "a", "b=2&a=1", "a=2&a=1", "a=%20", "a=%2B", "name=a%2Fb", "A=1&a=2", "a=b%3Dc", "%C3%A9=1",
    "a-b=1&a.b=2&a_b=3&a~b=4", "nextToken=AAAA%2FBBB%3D%3D&maxResults=10",
]
for query in queries:
    signed(f"botocore query {query}", "GET", f"/things?{query}")
signed("botocore session token", "GET", "/things", token=TOKEN)
signed("botocore content hash header", "POST", "/topics/a", {
    "X-Amz-Content-SHA256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"})
signed("botocore date header", "GET", "/things", {"Date": "set by the signer"})
signed("botocore folded white space", "GET", "/things", {"X-Amz-Meta": "  a   b  ", "X-Empty": ""})
presigned("botocore presigned", "/mqtt")
presigned("botocore presigned with a query", "/mqtt?a=b&c=d%2Fe")
presigned("botocore presigned, longest", "/mqtt", expires=604800)
presigned("botocore presigned, token signed", "/mqtt", token=TOKEN)
presigned("botocore presigned data plane", "/things/t/shadow?name=n", service="iotdata", token=TOKEN)
appended("botocore presigned, token appended", "/mqtt", TOKEN)
client("boto3 publish", "iot-data", "iotdata", "publish", topic="a/b c/é", qos=1, payload=b"hello")
client("boto3 publish mqtt5", "iot-data", "iotdata", "publish", topic="$aws/rules/r", payload=b"{}", retain=True,
       contentType="text/plain", responseTopic="r/+", userProperties='[{"a":"b"}]', correlationData="YQ==")
client("boto3 get shadow", "iot-data", "iotdata", "get_thing_shadow", token=TOKEN, thingName="a:b", shadowName="$n")
client("boto3 update shadow", "iot-data", "iotdata", "update_thing_shadow", thingName="t", payload=b'{"state":{}}')
client("boto3 delete shadow", "iot-data", "iotdata", "delete_thing_shadow", thingName="t")
client("boto3 create thing", "iot", "iot", "create_thing", thingName="a:b_c-d", attributePayload={"attributes": {"k": "v"}})
client("boto3 list things", "iot", "iot", "list_things", maxResults=5, nextToken="a/b+c==", attributeName="k")
client("boto3 tag", "iot", "iot", "list_tags_for_resource", resourceArn="arn:aws:iot:us-east-1:000000000000:thing/t")
client("boto3 delete principal", "iot", "iot", "detach_thing_principal", thingName="t",
       principal="arn:aws:iot:us-east-1:000000000000:cert/aa")
client("boto3 job execution", "iot-jobs-data", "iot-jobs-data", "describe_job_execution", jobId="$next", thingName="a:b")
