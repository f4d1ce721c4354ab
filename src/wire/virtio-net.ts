/**
 * The virtio-net header that precedes every packet of a TUN opened with IFF_VNET_HDR: struct virtio_net_hdr of
 * linux/virtio_net.h, 10 bytes, fields in the machine's byte order (TUNSETVNETLE is not used).
 *
 * It says what the kernel left unfinished: a checksum that holds only the pseudo-header sum (NEEDS_CSUM), or
 * a packet of up to 64 KiB that stands for many segments of `gsoSize` payload bytes (GSO).
 */
export const VNET = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HDR_LEN: 2,
  GSO_SIZE: 4,
  CSUM_START: 6,
  CSUM_OFFSET: 8,
  SIZE: 10,
} as const;

/** Bits of FLAGS. */
export const VNET_FLAG = { NEEDS_CSUM: 1, DATA_VALID: 2 } as const;

/** Values of GSO_TYPE; ECN is a bit beside them. */
export const GSO = { NONE: 0, TCPV4: 1, UDP: 3, TCPV6: 4, UDP_L4: 5, ECN: 0x80 } as const;
