import t from 'tap';
import { probabilityText } from '../../src/control/export/probability.js';

t.test('ten digits, as Go prints them', async (t) => {
  t.same([1, 3, 7].map(probabilityText), ['1.0000000000', '0.3333333333', '0.1428571429']);
  // What iptables-save prints back for these, 0.33333333349, is 2^-31 times the nearest whole number.
});

t.test('half-way cases go to the even digit', async (t) => {
  t.equal(1 / 2048, 0.000_488_281_25);
  t.equal(probabilityText(2048), '0.0004882812');
  t.equal((1 / 2048).toFixed(10), '0.0004882813', 'which JavaScript rounds up');
});
