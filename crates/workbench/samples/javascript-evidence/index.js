'use strict';

const { Evidence } = require('./lib/evidence');

module.exports.Evidence = Evidence;
module.exports.contracts = [Evidence];
