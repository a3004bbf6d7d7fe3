// As much of MQTT as the floors need. One packet in a WebSocket message, as the load generator sends them.

export const CONNECT = 1;
export const PUBLISH = 3;
export const PUBREC = 5;
export const PUBREL = 6;
export const SUBSCRIBE = 8;
export const UNSUBSCRIBE = 10;

export const CONNACK = new Uint8Array([0x20, 2, 0, 0]);

/** What the sender of this PUBLISH is told: nothing, PUBACK or PUBREC. */
export function acknowledgement(publish) {
  const qos = (publish[0] >> 1) & 3;
  if (qos === 0) return undefined;
  // the packet identifier is behind the remaining length and the topic
  let at = 1;
  while (publish[at] & 0x80) at += 1;
  at += 1;
  at += 2 + ((publish[at] << 8) | publish[at + 1]);
  return new Uint8Array([qos === 1 ? 0x40 : 0x50, 2, publish[at], publish[at + 1]]);
}

/** PUBREL to a PUBREC. */
export function release(pubrec) {
  return new Uint8Array([0x62, 2, pubrec[2], pubrec[3]]);
}

/** PUBCOMP to a PUBREL. */
export function completion(pubrel) {
  return new Uint8Array([0x70, 2, pubrel[2], pubrel[3]]);
}

/** SUBACK with QoS 0 to a SUBSCRIBE with one short filter. */
export function subscribed(subscribe) {
  return new Uint8Array([0x90, 3, subscribe[2], subscribe[3], 0]);
}

/** UNSUBACK to an UNSUBSCRIBE with one short filter. */
export function unsubscribed(unsubscribe) {
  return new Uint8Array([0xb0, 2, unsubscribe[2], unsubscribe[3]]);
}
