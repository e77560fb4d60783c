/** How long connections are remembered. */
import { integer } from './values.js';

const WEEK_S = 7 * 24 * 3600;

function seconds(description: string, fallback: number) {
  return integer(`Seconds that ${description}`, fallback, 1, WEEK_S);
}

export const timeoutSettings = {
  tcp_established_s: seconds('an idle established TCP connection is remembered', 21600),
  tcp_opening_s: seconds('a TCP connection that is not yet established is remembered', 60),
  tcp_closing_s: seconds('a TCP connection is remembered after FIN of both sides or RST', 30),
  udp_s: seconds('an unanswered UDP or SCTP flow is remembered', 60),
  udp_replied_s: seconds('an answered UDP or SCTP flow is remembered', 180),
  icmp_s: seconds('an ICMP echo is remembered', 30),
  fragment_s: seconds('the fragments of a datagram may follow their first one', 15),
};
