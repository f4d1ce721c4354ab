// Makes the sender of a device's packets compute their checksums, instead of leaving that to a device that is none: then who
// receives them looks at them, and a wrong one is seen.
//
//   checksums DEVICE
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int count, char **arguments) {
  if (count != 2) return 2;
  struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
  struct ifreq request = {.ifr_data = (char *)&off};
  strncpy(request.ifr_name, arguments[1], IFNAMSIZ - 1);
  if (ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCETHTOOL, &request) == 0) return 0;
  perror(arguments[1]);
  return 4;
}
