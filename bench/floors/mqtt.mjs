// As much of MQTT 3.1.1 as the floors here need. One packet in a WebSocket message, as the load generator sends them.

export const CONNECT = 1;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PINGREQ = 12;

export const CONNACK_BYTES = new Uint8Array([0x20, 2, 0, 0]);
/** The same, and the server has a session. */
export const CONNACK_PRESENT_BYTES = new Uint8Array([0x20, 2, 1, 0]);
export const PINGRESP_BYTES = new Uint8Array([0xd0, 0]);

const decoder = new TextDecoder();

export const kindOf = (packet) => packet[0] >> 4;

/** Where the variable header begins. */
function bodyOf(packet) {
  let at = 1;
  while (packet[at] & 0x80) at += 1;
  return at + 1;
}

function textAt(packet, at) {
  const length = (packet[at] << 8) | packet[at + 1];
  return decoder.decode(packet.subarray(at + 2, at + 2 + length));
}

/** The client identifier of a CONNECT: behind the protocol's name, its level, flags and keep-alive. */
export function clientIdOf(connect) {
  const at = bodyOf(connect);
  return textAt(connect, at + 2 + ((connect[at] << 8) | connect[at + 1]) + 4);
}

export const topicOf = (publish) => textAt(publish, bodyOf(publish));

/** Where the packet identifier of a PUBLISH with QoS 1 is. */
export function packetIdAt(publish) {
  const at = bodyOf(publish);
  return at + 2 + ((publish[at] << 8) | publish[at + 1]);
}

/** Of a PUBACK. */
export const packetIdOf = (puback) => (puback[2] << 8) | puback[3];
