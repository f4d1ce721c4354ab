/** Names that iptables and nft print on real nodes. */
import t from 'tap';
import {
  endpointChainName,
  nftEndpointChainName,
  nftServiceChainName,
  serviceChainName,
} from '../../src/control/export/chain-names.js';
import type { ServicePortName } from '../../src/control/model/service-port-name.js';

const DNS: ServicePortName = { namespace: 'kube-system', name: 'kube-dns', port: 'dns', protocol: 'UDP' };
const DNS_TCP: ServicePortName = { ...DNS, port: 'dns-tcp', protocol: 'TCP' };
const API: ServicePortName = { namespace: 'default', name: 'kubernetes', port: 'https', protocol: 'TCP' };
const UNNAMED: ServicePortName = { namespace: 'default', name: 'httpenv', port: '', protocol: 'TCP' };

t.test('every cluster has these', async (t) => {
  t.equal(serviceChainName('SVC', API), 'KUBE-SVC-NPX46M4PTMTKRN6Y');
  t.equal(serviceChainName('SVC', DNS), 'KUBE-SVC-TCOU7JCQXEZGVUNU');
  t.equal(serviceChainName('SVC', DNS_TCP), 'KUBE-SVC-ERIFXISQEP7F7OF4');
});

t.test('the kinds of one Service port share the hash; its endpoints have their own', async (t) => {
  const hashes = (['SVC', 'SVL', 'EXT', 'FW'] as const).map((kind) =>
    serviceChainName(kind, API).split('-').at(-1),
  );
  t.equal(new Set(hashes).size, 1);
  const first = endpointChainName(API, { ip: '192.0.2.1', port: 6443 });
  t.match(first, /^KUBE-SEP-[A-Z2-7]{16}$/);
  t.not(first, endpointChainName(API, { ip: '192.0.2.1', port: 6444 }));
  t.not(first, endpointChainName(API, { ip: '192.0.2.2', port: 6443 }));
});

t.test('protocol and port name are part of the name', async (t) => {
  t.not(serviceChainName('SVC', DNS), serviceChainName('SVC', { ...DNS, protocol: 'TCP' }));
  t.not(serviceChainName('SVC', UNNAMED), serviceChainName('SVC', { ...UNNAMED, port: 'http' }));
});

t.test('nftables', async (t) => {
  t.match(nftServiceChainName('service', API), /^service-[A-Z2-7]{8}-default\/kubernetes\/tcp\/https$/);
  const hash = nftServiceChainName('external', API).split('-')[1];
  t.equal(nftServiceChainName('firewall', API), `firewall-${hash}-default/kubernetes/tcp/https`);
  const ipv6 = nftEndpointChainName('endpoint', API, { ip: 'fd00:32::1', port: 6443 });
  t.match(ipv6, /^endpoint-[A-Z2-7]{8}-default\/kubernetes\/tcp\/https__fd00\.32\.\.1\/6443$/, 'no colons');
  const long = { ...API, namespace: 'n'.repeat(63), name: 's'.repeat(253) };
  const name = nftServiceChainName('service', long);
  t.equal(name.length, 'service-'.length + 240);
  t.match(name, /\.\.\.$/);
});
