// Hardhat as its users set it up; the compiler is the npm package, because nothing is downloaded here.
require('@nomicfoundation/hardhat-ethers');
const { subtask } = require('hardhat/config');
const { TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD } = require('hardhat/builtin-tasks/task-names');

const version = require('solc/package.json').version;
subtask(TASK_COMPILE_SOLIDITY_GET_SOLC_BUILD, async () => ({ compilerPath: require.resolve('solc/soljson.js'), isSolcJs: true, version, longVersion: require('solc').version() }));

module.exports = {
    solidity: { version, settings: { evmVersion: 'cancun', optimizer: { enabled: true, runs: 200 } } },
    paths: { root: __dirname, sources: 'hardhat/contracts', tests: 'hardhat/test', cache: 'build/hardhat/cache', artifacts: 'build/hardhat/artifacts' },
    networks: { here: { url: process.env.KONSORT_ETH_HTTP, chainId: Number(process.env.KONSORT_ETH_CHAIN_ID), accounts: (process.env.HARDHAT_KEYS ?? '').split(',').filter(Boolean) } },
    mocha: { timeout: 60000 },
};
