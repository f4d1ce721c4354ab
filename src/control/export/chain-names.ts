/**
 * The names of the chains that kube-proxy makes for a Service port and for its endpoints: pkg/proxy/iptables/proxier.go,
 * portProtoHash, and pkg/proxy/nftables/proxier.go, hashAndTruncate.
 */
import { createHash } from 'node:crypto';
import { type Endpoint, endpointText } from '../model/endpoint.js';
import { type ServicePortName, servicePortNameText } from '../model/service-port-name.js';

/** Kinds of chains of one Service port: policy Cluster, policy Local, external destinations, source ranges. */
export type ServiceChain = 'SVC' | 'SVL' | 'EXT' | 'FW';

/** "KUBE-SVC-ERIFXISQEP7F7OF4": all kinds of one Service port share the hash. */
export const serviceChainName = (kind: ServiceChain, name: ServicePortName): string =>
  `KUBE-${kind}-${hashOf(hashedName(name), IPTABLES_HASH_LENGTH)}`;

/** "KUBE-SEP-..." of one endpoint of one Service port. */
export const endpointChainName = (name: ServicePortName, endpoint: Pick<Endpoint, 'ip' | 'port'>): string =>
  `KUBE-SEP-${hashOf(hashedName(name) + endpointText(endpoint), IPTABLES_HASH_LENGTH)}`;

/** The same kinds in nftables mode. */
export type NftServiceChain = 'service' | 'local' | 'external' | 'firewall';

/** "service-ULMVA6XW-ns1/svc1/tcp/p80": readable, and short enough with the hash when the name is not. */
export const nftServiceChainName = (kind: NftServiceChain, name: ServicePortName): string =>
  nftName(kind, nftSuffix(name));

/** "endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80"; kind "affinity" is the set of clients of the endpoint. */
export const nftEndpointChainName = (
  kind: 'endpoint' | 'affinity',
  name: ServicePortName,
  { ip, port }: Pick<Endpoint, 'ip' | 'port'>,
  // nft's identifiers have no colon: "fd00::1" is written "fd00..1".
): string => nftName(kind, `${nftSuffix(name)}__${ip.replaceAll(':', '.')}/${port}`);

/** A chain's name has 28 bytes at most (XT_EXTENSION_MAXNAMELEN): 9 of prefix and these. */
const IPTABLES_HASH_LENGTH = 16;
const NFT_HASH_LENGTH = 8;
/** nft's NFT_NAME_MAXLEN, 256, less 16 for the prefix: kube-proxy cuts what is longer and ends it with "...". */
const NFT_BASE_LENGTH_MAX = 240;

const hashedName = (name: ServicePortName): string => servicePortNameText(name) + name.protocol.toLowerCase();

const nftSuffix = ({ namespace, name, protocol, port }: ServicePortName): string =>
  `${namespace}/${name}/${protocol.toLowerCase()}/${port}`;

function nftName(kind: string, suffix: string): string {
  const base = `${hashOf(suffix, NFT_HASH_LENGTH)}-${suffix}`;
  const isLong = base.length > NFT_BASE_LENGTH_MAX;
  return `${kind}-${isLong ? `${base.slice(0, NFT_BASE_LENGTH_MAX - 3)}...` : base}`;
}

/** @returns the first characters of the base32 of the SHA-256 */
function hashOf(text: string, length: number): string {
  let bits = 0n;
  const digest = createHash('sha256').update(text).digest();
  const byteCount = Math.ceil((length * 5) / 8);
  for (const byte of digest.subarray(0, byteCount)) bits = (bits << 8n) | BigInt(byte);
  bits >>= BigInt(byteCount * 8 - length * 5);
  let characters = '';
  for (let at = length - 1; at >= 0; at--)
    characters += BASE32.charAt(Number((bits >> BigInt(at * 5)) & 31n));
  return characters;
}

/** RFC 4648, section 6. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
