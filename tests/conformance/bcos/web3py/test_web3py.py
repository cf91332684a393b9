"""web3.py against a running node: deploy, call, send, reasons, logs, filters, types, fees, nonces, subscriptions."""

import asyncio
import json
import os
import secrets
import time
import unittest

from web3 import AsyncWeb3, Web3
from web3.exceptions import ContractCustomError, ContractLogicError, ContractPanicError, TransactionNotFound, Web3RPCError
from web3.providers import WebSocketProvider
from web3.utils.subscriptions import LogsSubscription, NewHeadsSubscription, PendingTxSubscription

HTTP = os.environ["KONSORT_ETH_HTTP"]
WS = os.environ["KONSORT_ETH_WS"]
CHAIN_ID = int(os.environ["KONSORT_ETH_CHAIN_ID"])
REFERENCE = os.environ.get("KONSORT_ETH_REFERENCE", "")
with open(os.environ["KONSORT_CONTRACTS"], encoding="utf-8") as file:
    PROBE = json.load(file)["Probe"]
FREE = {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}


class Web3Py(unittest.TestCase):
    """One contract for all tests; every test reads what it wrote itself."""

    @classmethod
    def setUpClass(cls):
        cls.w3 = Web3(Web3.HTTPProvider(HTTP))
        cls.account = cls.w3.eth.account.from_key("0x" + secrets.token_hex(32))
        if REFERENCE:
            cls.w3.provider.make_request("anvil_setBalance", [cls.account.address, hex(10**20)])
        factory = cls.w3.eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"])
        receipt = cls.run_tx(factory.constructor(7))
        cls.probe = cls.w3.eth.contract(address=receipt.contractAddress, abi=PROBE["abi"])

    @classmethod
    def run_tx(cls, call, **fields):
        sent = cls.send_tx(call, **fields)
        return cls.w3.eth.wait_for_transaction_receipt(sent, timeout=20, poll_latency=0.05)

    @classmethod
    def send_tx(cls, call, **fields):
        fields = {"from": cls.account.address, "nonce": cls.w3.eth.get_transaction_count(cls.account.address, "pending"), **(fields or FREE)}
        if "gasPrice" not in fields and "maxFeePerGas" not in fields:
            fields.update(FREE)
        signed = cls.account.sign_transaction(call.build_transaction(fields))
        return cls.w3.eth.send_raw_transaction(signed.raw_transaction)

    def test_deploy_call_send(self):
        self.assertTrue(self.w3.is_connected())
        self.assertEqual(self.w3.eth.chain_id, CHAIN_ID)
        self.assertEqual(self.w3.eth.get_code(self.probe.address).to_0x_hex(), PROBE["deployed"])
        receipt = self.run_tx(self.probe.functions.set(8, "python"))
        self.assertEqual(receipt.status, 1)
        self.assertEqual(self.probe.functions.value().call(), 8)
        (event,) = self.probe.events.Changed().process_receipt(receipt)
        self.assertEqual(dict(event.args), {"by": self.account.address, "value": 8, "note": "python"})
        self.assertGreater(self.probe.functions.set(9, "").estimate_gas({"from": self.account.address}), 21000)
        found = self.w3.eth.get_transaction(receipt.transactionHash)
        self.assertEqual(found["from"], self.account.address)
        block = self.w3.eth.get_block(receipt.blockNumber, full_transactions=True)
        self.assertEqual(block.hash, receipt.blockHash)
        self.assertEqual(block.transactions[receipt.transactionIndex].hash, receipt.transactionHash)
        self.assertEqual(self.w3.eth.get_block_receipts(receipt.blockNumber)[receipt.transactionIndex], receipt)
        self.assertEqual(self.w3.eth.get_raw_transaction(receipt.transactionHash)[:1].hex(), "02")

    def test_reasons(self):
        sender = {"from": self.account.address}
        functions = self.probe.functions
        for attempt in ("call", "estimate_gas"):
            with self.assertRaisesRegex(ContractLogicError, "told you so"):
                getattr(functions.failText(), attempt)(sender)
            with self.assertRaises(ContractCustomError) as caught:
                getattr(functions.failCustom(11), attempt)(sender)
            own = Web3.keccak(text="TooLarge(uint256,uint256)")[:4].hex().removeprefix("0x")
            self.assertEqual(str(caught.exception.data), f"0x{own}{11:064x}{10:064x}")
            with self.assertRaises(ContractPanicError):
                getattr(functions.failDivide(0), attempt)(sender)
            with self.assertRaises(ContractPanicError):
                getattr(functions.failAssert(), attempt)(sender)
            with self.assertRaises(ContractLogicError):
                getattr(functions.failBare(), attempt)(sender)
        with self.assertRaisesRegex(ContractLogicError, "not thirteen"):
            self.w3.eth.contract(abi=PROBE["abi"], bytecode=PROBE["bytecode"]).constructor(13).estimate_gas(sender)
        receipt = self.run_tx(functions.failText(), gas=500000)
        self.assertEqual(receipt.status, 0)
        with self.assertRaises(TransactionNotFound):
            self.w3.eth.get_transaction_receipt("0x" + "11" * 32)

    def test_types(self):
        access = [{"address": self.probe.address, "storageKeys": ["0x" + "00" * 32]}]
        for kind, fields in ((0, {"gasPrice": 0}), (1, {"gasPrice": 0, "accessList": access, "type": 1}), (2, {**FREE, "accessList": access, "type": 2})):
            receipt = self.run_tx(self.probe.functions.set(kind, "type"), **fields)
            self.assertEqual(receipt.type, kind)
            self.assertEqual(self.w3.eth.get_transaction(receipt.transactionHash).type, kind)

    def test_fees_and_nonces(self):
        self.assertEqual(self.w3.eth.gas_price, 0)
        history = self.w3.eth.fee_history(2, "latest", [50])
        self.assertEqual(len(history.baseFeePerGas), 3)
        self.assertGreaterEqual(self.w3.eth.max_priority_fee, 0)
        nonce = self.w3.eth.get_transaction_count(self.account.address)
        self.assertEqual(self.w3.eth.get_transaction_count(self.account.address, "pending"), nonce)
        hashes = [self.send_tx(self.probe.functions.set(at, "row"), nonce=nonce + at, gas=200000) for at in range(10)]
        receipts = [self.w3.eth.wait_for_transaction_receipt(one, timeout=20, poll_latency=0.05) for one in hashes]
        self.assertTrue(all(receipt.status == 1 for receipt in receipts))
        self.assertEqual(self.w3.eth.get_transaction_count(self.account.address), nonce + 10)
        with self.assertRaisesRegex(Web3RPCError, "nonce too low"):
            self.send_tx(self.probe.functions.set(1, "again"), nonce=nonce, gas=200000)

    def test_the_past(self):
        first = self.run_tx(self.probe.functions.set(1000, "then"))
        self.run_tx(self.probe.functions.set(2000, "now"))
        self.assertEqual(self.probe.functions.value().call(block_identifier=first.blockNumber), 1000)
        self.assertEqual(int.from_bytes(self.w3.eth.get_storage_at(self.probe.address, 0, first.blockNumber), "big"), 1000)

    def test_logs_and_filters(self):
        watching = self.probe.events.Changed.create_filter(from_block="latest", argument_filters={"value": 71})
        blocks = self.w3.eth.filter("latest")
        first = self.run_tx(self.probe.functions.set(71, "one"))
        self.run_tx(self.probe.functions.set(72, "two"))
        new = watching.get_new_entries()
        self.assertEqual([event.args.note for event in new], ["one"])
        self.assertIn(first.blockHash, blocks.get_new_entries())
        found = self.probe.events.Changed.get_logs(from_block=first.blockNumber)
        self.assertEqual([event.args.value for event in found], [71, 72])
        raw = self.w3.eth.get_logs({"fromBlock": first.blockNumber, "toBlock": first.blockNumber, "address": self.probe.address})
        self.assertEqual(raw, first.logs)
        self.assertTrue(self.w3.eth.uninstall_filter(watching.filter_id))

    def test_subscriptions(self):
        async def listen():
            heard = {"heads": [], "hashes": [], "logs": []}
            async with AsyncWeb3(WebSocketProvider(WS)) as w3:

                async def head(context):
                    heard["heads"].append(context.result.hash)

                async def pending(context):
                    heard["hashes"].append(context.result)

                async def log(context):
                    heard["logs"].append(context.result)

                await w3.subscription_manager.subscribe([
                    NewHeadsSubscription(handler=head),
                    PendingTxSubscription(handler=pending),
                    LogsSubscription(address=self.probe.address, handler=log),
                ])
                running = asyncio.create_task(w3.subscription_manager.handle_subscriptions(run_forever=True))
                receipt = await asyncio.to_thread(self.run_tx, self.probe.functions.set(91, "socket"))
                until = time.monotonic() + 20
                while time.monotonic() < until:
                    if receipt.blockHash in heard["heads"] and receipt.transactionHash in heard["hashes"] and heard["logs"]:
                        break
                    await asyncio.sleep(0.05)
                running.cancel()
                self.assertIn(receipt.blockHash, heard["heads"])
                self.assertIn(receipt.transactionHash, heard["hashes"])
                self.assertEqual([log.transactionHash for log in heard["logs"]], [receipt.transactionHash])

        asyncio.run(asyncio.wait_for(listen(), 60))


if __name__ == "__main__":
    unittest.main(verbosity=2)
