// What the oracles signed (docs/oracle.md), checked here: nothing that the server says is believed.
//
//   CFG1   who the oracles are           RPT1   one price, its quorum's signatures behind it
//   FCT1   an RPT1 with its Merkle path to the root of a BAT1, and the quorum's signatures of that

import { concat, equal, fromText } from "./bytes.js";
import { verify } from "./schnorr.js";
import { taggedHash } from "./sha256.js";

const REPORT = 168;
const BATCH = 110;
const SIGNATURE = 64;
const CONFIG_TAIL = 23;

/** Reads a byte string from its beginning. */
class Cursor {
  constructor(data) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.at = 0;
  }
  bytes(count) {
    if (this.at + count > this.data.length) throw new RangeError("the bytes end too early");
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }
  u8() {
    return this.bytes(1)[0];
  }
  u16() {
    return (this.u8() << 8) | this.u8();
  }
  u32() {
    this.bytes(4);
    return this.view.getUint32(this.at - 4);
  }
  u64() {
    this.bytes(8);
    return this.view.getBigUint64(this.at - 8);
  }
  magic(expected) {
    if (!equal(this.bytes(4), fromText(expected))) throw new RangeError(`these bytes are no ${expected}`);
  }
}

/** `{keys, quorum, epoch, digest}` of a CFG1. */
export function decodeConfig(data) {
  const cursor = new Cursor(data);
  cursor.magic("CFG1");
  cursor.bytes(32);
  const epoch = cursor.u32();
  const keys = Array.from({ length: cursor.u8() }, () => cursor.bytes(32));
  const quorum = cursor.u8();
  if (cursor.at + CONFIG_TAIL - 1 !== data.length) throw new RangeError("a CFG1 has another length");
  return { keys, quorum, epoch, digest: taggedHash("btcfi/config/v1", data) };
}

/** Prices in 10^-8 USD and times in unix ms are BigInt. */
function decodeReport(data) {
  const cursor = new Cursor(data);
  cursor.magic("RPT1");
  return {
    configDigest: cursor.bytes(32),
    feedId: cursor.bytes(32),
    round: cursor.u64(),
    priceE8: cursor.u64(),
    confE8: cursor.u64(),
    exponent: cursor.u8(),
    grade: ["", "FULL", "DEGRADED"][cursor.u8()],
    observations: cursor.u8(),
    observers: cursor.u8(),
    timeMs: cursor.u64(),
    bytes: data,
  };
}

/** The root that a leaf at `index` of `count` and its siblings lead to; an odd node is promoted unchanged. */
function rootFromPath(leaf, index, count, siblings) {
  let current = leaf;
  let used = 0;
  for (; count > 1; index >>= 1, count = (count + 1) >> 1) {
    if ((index ^ 1) >= count) continue;
    const pair = index & 1 ? [siblings[used], current] : [current, siblings[used]];
    current = taggedHash("btcfi/merkle/node/v1", concat(...pair));
    used++;
  }
  if (used !== siblings.length) throw new RangeError("the Merkle path has another length");
  return current;
}

/** `{report, message, signatures}`: what was certified, the 32 bytes that were signed, and by whom. */
export function decodeCertificate(data) {
  const cursor = new Cursor(data);
  let report;
  let message;
  if (equal(data.subarray(0, 4), fromText("FCT1"))) {
    cursor.magic("FCT1");
    report = decodeReport(cursor.bytes(REPORT));
    const index = cursor.u16();
    const siblings = Array.from({ length: cursor.u8() }, () => cursor.bytes(32));
    const batch = cursor.bytes(BATCH);
    const inside = new Cursor(batch);
    inside.magic("BAT1");
    const config = inside.bytes(32);
    const round = inside.u64();
    const root = rootFromPath(taggedHash("btcfi/merkle/leaf/v1", report.bytes), index, inside.u16(), siblings);
    if (!equal(config, report.configDigest) || round !== report.round || !equal(root, inside.bytes(32)))
      throw new RangeError("the report is not in the signed batch");
    message = taggedHash("btcfi/oracle/batch/v1", batch);
  } else {
    report = decodeReport(cursor.bytes(REPORT));
    message = taggedHash("btcfi/oracle/report/v1", report.bytes);
  }
  const signatures = new Map();
  while (cursor.at < data.length) signatures.set(cursor.u8(), cursor.bytes(SIGNATURE));
  return { report, message, signatures };
}

/**
 * What each oracle of `config` did, `"valid" | "absent" | "invalid"` by its index, and whether the certificate
 * `holds`: exactly a quorum signed it, under this configuration.
 */
export function checkCertificate({ report, message, signatures }, config) {
  const oracles = config.keys.map((key, index) => {
    if (!signatures.has(index)) return "absent";
    return verify(key, message, signatures.get(index)) ? "valid" : "invalid";
  });
  const holds =
    equal(report.configDigest, config.digest) &&
    signatures.size === config.quorum &&
    [...signatures.keys()].every((index) => oracles[index] === "valid");
  return { oracles, holds };
}
