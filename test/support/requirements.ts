/**
 * What RFC 4787 (UDP), 5382 (TCP), 5508 (ICMP) and 7857 (updates of the three) ask of a NAT, in our own words, and how flowpin
 * stands to each. A test says with `shows` which of them it shows; scripts/rfc-page.ts makes docs/CONFORMANCE.md of both.
 *
 * A Service is a destination NAT: clients come to an address of ours, and nobody looks for a client behind it. What is asked
 * for the sake of hosts that want to be reached from outside binds at most where a source is masqueraded.
 */

/** How much an RFC insists. */
type Force = 'must' | 'should' | 'may';

export interface Requirement {
  readonly asks: string;
  readonly force: Force;
  /** `rfc`: yes with the timeouts of --conntrack-timeouts rfc, no with those of the default profile linux. */
  readonly stands: 'yes' | 'rfc' | 'no' | 'not applicable';
  /** Why not; or what there is to know of a yes. */
  readonly because?: string;
}

type RequirementTable = Readonly<
  Record<string, { about: string; items: Readonly<Record<string, Requirement>> }>
>;

const must = (asks: string) => ({ asks, force: 'must' }) as const;
const should = (asks: string) => ({ asks, force: 'should' }) as const;
const may = (asks: string) => ({ asks, force: 'may' }) as const;
const yes = (because?: string) => ({ stands: 'yes', ...(because && { because }) }) as const;
const rfc = (because: string) => ({ stands: 'rfc', because }) as const;
const no = (because: string) => ({ stands: 'no', because }) as const;
const notApplicable = (because: string) => ({ stands: 'not applicable', because }) as const;

const NO_MAPPING =
  'a source is masqueraded for one flow to one endpoint; no client is looked for at its masqueraded address';
const STRICT =
  'only the endpoint of a flow reaches its client: the address and port of the pool belong to that one flow';
const RANDOM = 'address and port are drawn at random for every masqueraded flow, from 1024 up';
const NO_ALG = 'there are none: no payload is looked at, none is changed';
const NO_QUERIES =
  'no ICMP query is ever translated: Services have TCP, UDP and SCTP ports (decision 13). Queries to others pass as they are';
const LINUX_UDP = "profile linux has nf_conntrack's 30 s, and 120 s for a stream";
const BY_KERNEL = 'by the kernel of the node, around the device';

export const RFCS = {
  'RFC 4787': {
    about: 'UDP',
    items: {
      'REQ-1': {
        ...must('one mapping for a source, whatever it sends to'),
        ...notApplicable(NO_MAPPING),
      },
      'REQ-2': { ...should('one external address for all that a host sends'), ...no(RANDOM) },
      'REQ-3': {
        ...must('no external port for two sources at once'),
        ...yes('towards one endpoint; RFC 7857 section 3 allows it towards different ones'),
      },
      'REQ-3a': { ...should('source ports below 1024 stay below, others above'), ...no(RANDOM) },
      'REQ-4': {
        ...should('even source ports stay even, odd ones odd'),
        ...no(`${RANDOM}; RFC 7857 section 8`),
      },
      'REQ-5': { ...must('a flow is kept for two minutes at least'), ...rfc(LINUX_UDP) },
      'REQ-5a': {
        ...may('shorter for well-known ports'),
        ...no('not used: time does not depend on the port'),
      },
      'REQ-5b': { ...may('the time can be configured'), ...yes() },
      'REQ-5c': { ...should('five minutes or more by default'), ...rfc(LINUX_UDP) },
      'REQ-6': { ...must('what the client sends refreshes the flow'), ...yes() },
      'REQ-6a': { ...may('what the other side sends refreshes it too'), ...yes() },
      'REQ-7': {
        ...must('internal addresses may be the same as external ones that are learnt dynamically'),
        ...notApplicable('the pool is configured, and no address is learnt'),
      },
      'REQ-8': {
        ...should('filtering by the remote address at most, for those who have to be reached'),
        ...no(STRICT),
      },
      'REQ-9': { ...must('a host reaches itself by its external address'), ...yes() },
      'REQ-9a': { ...must('and then comes from an external address and port'), ...yes() },
      'REQ-10': { ...should('application gateways are off'), ...yes(NO_ALG) },
      'REQ-10a': { ...should('each of them can be switched'), ...notApplicable(NO_ALG) },
      'REQ-11': {
        ...must('it always behaves in the same way, under every load'),
        ...yes('also: the same seed and packets give the same bytes'),
      },
      'REQ-12': { ...must('no ICMP message ends a mapping'), ...yes() },
      'REQ-12a': { ...should('ICMP messages are not filtered by who sent them'), ...yes() },
      'REQ-12b': { ...should('Destination Unreachable is translated'), ...yes() },
      'REQ-13': {
        ...must('with DF, a packet that is too big is answered with "fragmentation needed"'),
        ...yes(`${BY_KERNEL}; flowpin translates the answer back`),
      },
      'REQ-13a': { ...must('without DF it is sent on in fragments'), ...yes(BY_KERNEL) },
      'REQ-14': {
        ...must('fragments are taken in and out of order'),
        ...yes(
          'also through NodePorts; not the replies of policy Local to clients that are no pods (decision 10)',
        ),
      },
      'REQ-14a': { ...must('and a flood of fragments harms no other packets'), ...yes() },
    },
  },
  'RFC 5382': {
    about: 'TCP',
    items: {
      'REQ-1': {
        ...must('one mapping for a source, whatever it connects to'),
        ...notApplicable(NO_MAPPING),
      },
      'REQ-2': {
        ...must('every valid sequence of segments is let through'),
        ...yes(
          'invalid ones and those out of window too, once there is a flow; an RST is judged by its receiver (RFC 5961), not here',
        ),
      },
      'REQ-2a': { ...must('a simultaneous open too'), ...yes() },
      'REQ-3': {
        ...should('filtering by the remote address at most, for those who have to be reached'),
        ...no(STRICT),
      },
      'REQ-3a': { ...may('the administrator can choose the filtering'), ...no('not offered: there is one') },
      'REQ-3b': { ...may('and for TCP otherwise than for UDP'), ...no('not offered: there is one') },
      'REQ-4': {
        ...must('an unsolicited SYN from outside is not answered for six seconds'),
        ...yes(
          'a SYN to the SNAT pool is never answered. A SYN to a Service is solicited, and answered at once',
        ),
      },
      'REQ-4a': {
        ...must('it is dropped silently if security has it so'),
        ...yes(),
      },
      'REQ-5': {
        ...must('a connection is kept for 2 h 4 min, an opening or closing one for 4 min at least'),
        ...rfc(
          "profile linux keeps an established one for 24 h, as kube-proxy sets it, and one that opens or closes for nf_conntrack's 10 s to 120 s (CLOSE_WAIT: kube-proxy's 1 h)",
        ),
      },
      'REQ-5a': { ...may('the times can be configured'), ...yes() },
      'REQ-6': { ...should('application gateways are off, but that of FTP'), ...yes(NO_ALG) },
      'REQ-7': { ...must('no external port for two sources at once'), ...yes('as RFC 4787 REQ-3') },
      'REQ-8': { ...must('a host reaches itself by its external address, and comes from one'), ...yes() },
      'REQ-9': { ...should('Destination Unreachable is translated'), ...yes() },
      'REQ-10': {
        ...must('no ICMP message ends a mapping or a connection'),
        ...yes('a SYN for which retry is on goes to another endpoint then, and the client learns of nothing'),
      },
    },
  },
  'RFC 5508': {
    about: 'ICMP',
    items: {
      'REQ-1': { ...must('queries and their answers are let through'), ...notApplicable(NO_QUERIES) },
      'REQ-1a': {
        ...should('one mapping of an identifier for all destinations'),
        ...notApplicable(NO_QUERIES),
      },
      'REQ-2': { ...must('a query is kept for 60 s at least'), ...notApplicable(NO_QUERIES) },
      'REQ-2a': { ...should('the time can be configured'), ...notApplicable(NO_QUERIES) },
      'REQ-3': { ...should('an error with a wrong checksum is dropped silently'), ...yes() },
      'REQ-3a': { ...should('so is one that quotes a wrong IP header checksum'), ...yes() },
      'REQ-3b': { ...must('IP options in the quote are walked past'), ...yes() },
      'REQ-3c': { ...should('the quoted transport checksum is not verified'), ...yes() },
      'REQ-3d': { ...must('ICMP extensions are kept out of it'), ...yes() },
      'REQ-4': {
        ...should('an error from outside about no flow is dropped silently'),
        ...yes('one to an address of ours; what is for others passes, it may be of their own traffic'),
      },
      'REQ-4a': { ...must('else the quote is what the sender sent'), ...yes() },
      'REQ-4b': { ...must('type and code stay'), ...yes() },
      'REQ-4c': { ...must('and it goes to that sender'), ...yes() },
      'REQ-5': { ...should('an error from inside about no flow is dropped silently'), ...yes('as REQ-4') },
      'REQ-5a': { ...must('else the quote is what the sender sent'), ...yes() },
      'REQ-5b': { ...must('type and code stay'), ...yes() },
      'REQ-5c': {
        ...must('and it comes from an external address'),
        ...no(
          'a router behind the Service keeps its own, so that traceroute shows the way (decision 9); an endpoint is shown as the Service, a masqueraded client as its pool address',
        ),
      },
      'REQ-6': { ...must('an error neither refreshes nor ends the flow that it is about'), ...yes() },
      'REQ-7': {
        ...must('errors of a host about what it sent to itself are translated too'),
        ...yes('hairpinned queries are asked of basic NAT only'),
      },
      'REQ-7a': { ...must('and go to the sender of the packet that they quote'), ...yes() },
      'REQ-8': {
        ...should('a flow that there is no room for is refused with type 3 code 13'),
        ...yes('ICMPv6: type 1 code 1; limited like all errors of our own'),
      },
      'REQ-9': {
        ...may('ICMP towards an interface can be forbidden'),
        ...no('not offered: a firewall does it'),
      },
      'REQ-10a': {
        ...must('Destination Unreachable, Time Exceeded and Echo are made and answered as by a router'),
        ...yes(`${BY_KERNEL}, at the node's addresses; Services' addresses answer pings with --answer-ping`),
      },
      'REQ-10b': { ...may('other messages of a router'), ...notApplicable(`if at all ${BY_KERNEL}`) },
      'REQ-10c': { ...should('no obsolete messages (source quench, information request)'), ...yes() },
      'REQ-10d to f': {
        ...should('what a router is to do with options and with errors of its own'),
        ...notApplicable(`if at all ${BY_KERNEL}`),
      },
      'REQ-11': {
        ...may('messages that are neither query nor error are dropped or handled'),
        ...yes('dropped when they are for an address of ours'),
      },
    },
  },
  'RFC 7857': {
    about: 'updates of the three',
    items: {
      'section 2': {
        ...should('TCP is tracked by the states of RFC 6146'),
        ...yes("by nf_conntrack's, which tell more apart; an RST leads where RFC 6146 has it"),
      },
      'section 2.1 parameters': {
        ...should('the times of opening and of closing can be configured each'),
        ...no(
          'only established and CLOSE_WAIT have options, as with kube-proxy; the others go by the profile',
        ),
      },
      'section 2.1 default': {
        ...should('four minutes for a connection that opens or closes, by default'),
        ...rfc('as RFC 5382 REQ-5'),
      },
      'section 2.2 translate': { ...must('an RST of a flow is translated'), ...yes() },
      'section 2.2 wait': {
        ...should('and its flow is kept for four minutes after it'),
        ...rfc("profile linux: nf_conntrack's 10 s"),
      },
      'section 3': { ...may('one external port serves flows to different destinations'), ...yes() },
      'section 4': { ...should('pairing of addresses (RFC 4787 REQ-2)'), ...no(RANDOM) },
      'section 5': { ...should('mappings are by protocol'), ...notApplicable(NO_MAPPING) },
      'section 6': { ...should('so is filtering'), ...yes() },
      'section 7': { ...may('refreshing from outside, where anybody may send'), ...notApplicable(STRICT) },
      'section 7.1 ICMP': { ...should('ICMP errors do not refresh'), ...yes() },
      'section 7.1 RST': {
        ...should('nor do RSTs'),
        ...no(
          "as in nf_conntrack: the first shortens the flow's time to that of CLOSE, and each further one begins that time again",
        ),
      },
      'section 8': { ...may('port parity is not kept'), ...yes() },
      'section 9': { ...should('ports are chosen at random (RFC 6056)'), ...yes() },
      'section 10': {
        ...should('identifications are unique among the packets that share an address (RFC 6864)'),
        ...no(
          'they are kept: two clients behind one address of the pool may use the same one at once (decision 10)',
        ),
      },
      'section 11': { ...may('mappings of queries end with their last query'), ...notApplicable(NO_QUERIES) },
    },
  },
} as const satisfies RequirementTable;

type Rfcs = typeof RFCS;
/** Such as "RFC 4787 REQ-14", "RFC 7857 section 2". */
export type RequirementId = {
  [Rfc in keyof Rfcs]: `${Rfc} ${keyof Rfcs[Rfc]['items'] & string}`;
}[keyof Rfcs];

/**
 * As second argument of `t.test`: the case shows that these requirements are met, or what is done instead. Read by
 * scripts/rfc-page.ts from the source, so it stands there as it is written here, with ids spelt out.
 * @returns options for tap: none
 */
export const shows = (..._requirements: readonly RequirementId[]): Record<string, never> => ({});
