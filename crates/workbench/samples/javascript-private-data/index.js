'use strict';

const { Offers } = require('./lib/offers');

module.exports.Offers = Offers;
module.exports.contracts = [Offers];
