// BIP340 signatures on secp256k1: verification alone, of public data. There is no secret here, so nothing
// runs in constant time. Names as in the BIP.

import { concat, toBigInt } from "./bytes.js";
import { taggedHash } from "./sha256.js";

const p = 2n ** 256n - 2n ** 32n - 977n;
const n = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const G = [
  0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
  1n,
];
const INFINITY = [0n, 1n, 0n];

const mod = (x) => ((x % p) + p) % p;

function power(base, exponent) {
  let result = 1n;
  for (; exponent; exponent >>= 1n, base = mod(base * base)) if (exponent & 1n) result = mod(result * base);
  return result;
}

/** 2P, in Jacobian coordinates: x = X / Z^2, y = Y / Z^3. */
function double([X, Y, Z]) {
  if (!Z) return INFINITY;
  const YY = mod(Y * Y);
  const S = mod(4n * X * YY);
  const M = mod(3n * X * X);
  const X3 = mod(M * M - 2n * S);
  return [X3, mod(M * (S - X3) - 8n * YY * YY), mod(2n * Y * Z)];
}

function add(P, Q) {
  const [X1, Y1, Z1] = P;
  const [X2, Y2, Z2] = Q;
  if (!Z1) return Q;
  if (!Z2) return P;
  const ZZ1 = mod(Z1 * Z1);
  const ZZ2 = mod(Z2 * Z2);
  const U1 = mod(X1 * ZZ2);
  const S1 = mod(Y1 * ZZ2 * Z2);
  const H = mod(X2 * ZZ1 - U1);
  const R = mod(Y2 * ZZ1 * Z1 - S1);
  if (!H) return R ? INFINITY : double(P);
  const HH = mod(H * H);
  const HHH = mod(H * HH);
  const V = mod(U1 * HH);
  const X3 = mod(R * R - HHH - 2n * V);
  return [X3, mod(R * (V - X3) - S1 * HHH), mod(H * Z1 * Z2)];
}

/** a G + b P, bit by bit at once. */
function combine(a, b, P) {
  const table = [null, G, P, add(G, P)];
  let R = INFINITY;
  for (let bit = 255n; bit >= 0n; bit--) {
    R = double(R);
    const index = Number(((a >> bit) & 1n) | (((b >> bit) & 1n) << 1n));
    if (index) R = add(R, table[index]);
  }
  return R;
}

/** The point with this x and an even y; null if there is none. */
function liftX(x) {
  if (x >= p) return null;
  const c = mod(x * x * x + 7n);
  const y = power(c, (p + 1n) / 4n);
  if (mod(y * y) !== c) return null;
  return [x, y & 1n ? p - y : y, 1n];
}

/**
 * Whether `signature` (64 bytes) by the x-only `key` (32 bytes) is of `message`; false for any other lengths.
 */
export function verify(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const P = liftX(toBigInt(key));
  const r = toBigInt(signature.subarray(0, 32));
  const s = toBigInt(signature.subarray(32));
  if (!P || r >= p || s >= n) return false;
  const e = toBigInt(taggedHash("BIP0340/challenge", signature.subarray(0, 32), key, message)) % n;
  const [X, Y, Z] = combine(s, (n - e) % n, P);
  if (!Z) return false;
  const inverse = power(Z, p - 2n);
  const square = mod(inverse * inverse);
  const y = mod(Y * square * inverse);
  return !(y & 1n) && mod(X * square) === r;
}
