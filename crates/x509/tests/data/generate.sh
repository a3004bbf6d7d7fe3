#!/bin/sh
# Makes the certificates, requests and signatures of this directory with openssl (3.0 or later).
#
#     sh generate.sh
#
# Keys are made once and kept: delete *.key to have new ones. Serial numbers and dates are fixed. ECDSA and RSASSA-PSS
# signatures are drawn anew each time, as openssl has it, and with them the identifiers of what is signed so.
# The keys are for tests only and protect nothing.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

key() { # name, algorithm and options
    name=$1; shift
    test -f "$name.key" || openssl genpkey -out "$name.key" "$@" 2>"$scratch/log"
}
for bits in 1024 2048 3072 4096; do key "rsa$bits" -algorithm RSA -pkeyopt "rsa_keygen_bits:$bits"; done
for curve in p256:P-256 p384:P-384 p521:P-521 k256:secp256k1 authority:P-256 intermediate:P-256 sub:P-256; do
    key "${curve%%:*}" -algorithm EC -pkeyopt "ec_paramgen_curve:${curve##*:}" -pkeyopt ec_param_enc:named_curve
done
key ed25519 -algorithm ED25519

START=20240101000000Z
END=20490101000000Z
serial=1000

# A request of a key, with a subject as `-subj` has it and options of `openssl req`.
request() { # key, subject, options
    key=$1; subject=$2; shift 2
    openssl req -new -key "$key.key" -subj "$subject" -utf8 -multivalue-rdn "$@" -out "$scratch/request.pem"
}

# The certificate for the last request.
issue() { # name, issuer (a certificate of this directory, or "self"), its key, extensions, options of `openssl ca`
    name=$1; issuer=$2; key=$3; extensions=$4; shift 4
    serial=$((serial + 1))
    : >"$scratch/index"
    printf '%s\n' "$serial" >"$scratch/serial"
    printf '%b\n' "[extensions]\n$extensions" >"$scratch/extensions"
    cat >"$scratch/config" <<EOF
[ca]
default_ca = it
[it]
database = $scratch/index
serial = $scratch/serial
new_certs_dir = $scratch
policy = any
default_md = sha256
unique_subject = no
[any]
EOF
    if test "$issuer" = self; then set -- -selfsign "$@"; else set -- -cert "$issuer.pem" "$@"; fi
    set -- -startdate "${from:-$START}" -enddate "${to:-$END}" "$@"
    openssl ca -batch -config "$scratch/config" -keyfile "$key.key" -in "$scratch/request.pem" -notext -preserveDN \
        -extfile "$scratch/extensions" -extensions extensions -out "$name.pem" "$@" 2>"$scratch/log" ||
        { cat "$scratch/log" >&2; exit 1; }
}

CA='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash'
DEVICE='basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid'

# Authorities of each kind.
for kind in rsa2048 rsa4096 p256 p384 ed25519; do
    request "$kind" "/O=Umbra Tests/CN=Root $kind"
    case $kind in ed25519) md='-md null' ;; *) md='' ;; esac
    issue "root-$kind" self "$kind" "$CA" $md
done

# Devices with keys of each kind, of one authority.
for kind in rsa1024 rsa2048 rsa3072 rsa4096 p256 p384 p521 k256 ed25519; do
    request "$kind" "/CN=device $kind"
    issue "device-$kind" root-p256 p256 "$DEVICE"
done

# One device, with signatures of each kind.
request p256 "/CN=device"
for md in sha256 sha384 sha512 sha1; do
    issue "by-rsa-$md" root-rsa2048 rsa2048 "$DEVICE" -md "$md"
    issue "by-p256-$md" root-p256 p256 "$DEVICE" -md "$md"
    issue "by-p384-$md" root-p384 p384 "$DEVICE" -md "$md"
done
issue by-rsa4096-sha512 root-rsa4096 rsa4096 "$DEVICE" -md sha512
issue by-ed25519 root-ed25519 ed25519 "$DEVICE" -md null
for md in sha256 sha384 sha512; do
    issue "by-pss-$md" root-rsa2048 rsa2048 "$DEVICE" -md "$md" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32
done
issue by-pss-sha1 root-rsa2048 rsa2048 "$DEVICE" -md sha1 -sigopt rsa_padding_mode:pss
issue by-pss-mixed root-rsa2048 rsa2048 "$DEVICE" -md sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha512

# A chain, and one that is longer than its authority allows.
request intermediate "/O=Umbra Tests/CN=Intermediate"
issue intermediate root-p256 p256 "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid"
request sub "/O=Umbra Tests/CN=Sub"
issue sub intermediate intermediate "$CA\nauthorityKeyIdentifier=keyid"
request p256 "/CN=device"
issue below-intermediate intermediate intermediate "$DEVICE"
issue below-sub sub sub "$DEVICE"
cat below-intermediate.pem intermediate.pem root-p256.pem >chain.pem

# What breaks a rule.
from=20200101000000Z to=20210101000000Z issue expired root-p256 p256 "$DEVICE"
from=20480101000000Z issue future root-p256 p256 "$DEVICE"
from=20500101000000Z to=99991231235959Z issue generalized root-p256 p256 "$DEVICE"
issue below-device device-p384 p384 "$DEVICE"
issue unknown-critical root-p256 p256 "$DEVICE\n1.2.3.4=critical,ASN1:UTF8String:x"
issue unknown root-p256 p256 "$DEVICE\n1.2.3.4=ASN1:UTF8String:x"
issue policies root-p256 p256 "$DEVICE\ncertificatePolicies=critical,1.2.3.4"
issue server-only root-p256 p256 "$DEVICE\nextendedKeyUsage=serverAuth"
issue client root-p256 p256 "$DEVICE\nextendedKeyUsage=serverAuth,clientAuth"
issue any-purpose root-p256 p256 "$DEVICE\nextendedKeyUsage=anyExtendedKeyUsage"
for row in 'no-constraints|subjectKeyIdentifier=hash' \
    'ca-false|basicConstraints=critical,CA:FALSE' \
    'no-cert-sign|basicConstraints=critical,CA:TRUE\nkeyUsage=critical,digitalSignature' \
    'no-key-usage|basicConstraints=critical,CA:TRUE' \
    'name-constraints|basicConstraints=critical,CA:TRUE\nnameConstraints=critical,permitted;DNS:example.com'; do
    request intermediate "/CN=${row%%|*}"
    issue "ca-${row%%|*}" self intermediate "${row#*|}"
    request p256 "/CN=device"
    issue "below-${row%%|*}" "ca-${row%%|*}" intermediate "$DEVICE"
done
# The same name as root-p256 with another key.
request intermediate "/O=Umbra Tests/CN=Root p256"
issue root-impostor self intermediate "$CA"
# The same name, written in another way, and the same key.
request p256 "/O=umbra  TESTS/CN=ROOT p256"
issue root-respelled self p256 "$CA"

# Names.
printf '[req]\ndistinguished_name=dn\nstring_mask=MASK:0x800\n[dn]\n' >"$scratch/bmp"
printf '[req]\ndistinguished_name=dn\nstring_mask=MASK:0x4\n[dn]\n' >"$scratch/t61"
for mask in bmp t61; do
    request p256 "/CN=Zoë" -config "$scratch/$mask"
    issue "name-$mask" root-p256 p256 "$DEVICE"
done
request p256 "/C=US/O=IoT Devices/OU=LightBulb/OU=Kitchen, upstairs/ST=NY/CN=LightBulb Device Cert+GN=Bulb/initials=ZZ/dnQualifier=Bulb001/SN=Multi Color/title=RGB/pseudonym=RGB Device/generationQualifier=4/serialNumber=123/emailAddress=a@example.com"
issue names root-p256 p256 "$DEVICE\nsubjectAltName=email:a@example.com,DNS:one.example.com,DNS:two.example.com,URI:urn:device:7,IP:192.0.2.1,IP:2001:db8::1,dirName:directory,RID:1.2.3.4,otherName:1.2.3.4;UTF8:x\nissuerAltName=email:ca@example.com,DNS:ca.example.com,URI:https://ca.example.com,IP:192.0.2.2,dirName:directory\n[directory]\nC=DE\nCN=Alternative"

# Serial numbers, and a certificate of version 1: not of `openssl ca`.
for row in negative:-0x7f twenty:0x7f0102030405060708090a0b0c0d0e0f10111213 \
    twenty-one:0x8f0102030405060708090a0b0c0d0e0f10111213 zero:0; do
    openssl x509 -req -in "$scratch/request.pem" -CA root-p256.pem -CAkey p256.key -set_serial "${row#*:}" \
        -days 9000 -out "serial-${row%%:*}.pem" 2>"$scratch/log"
done

# As the console of AWS makes them; there the issuer has 70 characters (ST=Washington), which openssl refuses to write.
request authority "/OU=Amazon Web Services O\\=Amazon.com Inc. L\\=Seattle ST\\=WA C\\=US"
issue aws-ca self authority "$CA"
request rsa2048 "/CN=AWS IoT Certificate"
from=20240611101500Z to=20491231235959Z issue aws aws-ca authority \
    "authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature"
openssl x509 -in aws.pem -text -out aws-with-text.pem

# Requests.
for kind in rsa1024 rsa2048 rsa3072 rsa4096 p256 p384 p521 ed25519; do
    openssl req -new -key "$kind.key" -subj "/O=Umbra Tests/CN=request $kind" \
        -addext subjectAltName=DNS:example.com -out "request-$kind.pem"
done

# Public keys, and signatures over `message`.
printf 'a message to be signed' >message
for kind in rsa2048 rsa3072 rsa4096 p256 p384 ed25519; do openssl pkey -in "$kind.key" -pubout -out "$kind.pub"; done
openssl ec -in p256.key -pubout -conv_form compressed -out p256-compressed.pub 2>"$scratch/log"
for kind in rsa2048 rsa3072 rsa4096 p256 p384; do
    for md in sha1 sha256 sha384 sha512; do
        openssl dgst "-$md" -sign "$kind.key" -out "message.$kind.$md.sig" message
    done
done
for md in sha256 sha384 sha512; do
    openssl dgst "-$md" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:-1 -sign rsa2048.key \
        -out "message.rsa2048.pss-$md.sig" message
done
openssl pkeyutl -sign -inkey ed25519.key -rawin -in message -out message.ed25519.sig
