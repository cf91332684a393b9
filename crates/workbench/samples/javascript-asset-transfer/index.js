'use strict';

const { AssetTransfer } = require('./lib/asset-transfer');

module.exports.AssetTransfer = AssetTransfer;
module.exports.contracts = [AssetTransfer];
