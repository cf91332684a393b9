import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.fisco.bcos.sdk.jni.utilities.tx.TransactionBuilderJniObj;
import org.fisco.bcos.sdk.jni.utilities.tx.TxPair;
import org.fisco.bcos.sdk.v3.BcosSDK;
import org.fisco.bcos.sdk.v3.amop.Amop;
import org.fisco.bcos.sdk.v3.client.Client;
import org.fisco.bcos.sdk.v3.client.exceptions.ClientException;
import org.fisco.bcos.sdk.v3.client.protocol.model.JsonTransactionResponse;
import org.fisco.bcos.sdk.v3.client.protocol.response.BcosBlock;
import org.fisco.bcos.sdk.v3.client.protocol.response.BcosBlockHeader;
import org.fisco.bcos.sdk.v3.client.protocol.response.SealerList;
import org.fisco.bcos.sdk.v3.codec.ContractCodec;
import org.fisco.bcos.sdk.v3.contract.precompiled.bfs.BFSInfo;
import org.fisco.bcos.sdk.v3.contract.precompiled.bfs.BFSService;
import org.fisco.bcos.sdk.v3.contract.precompiled.consensus.ConsensusService;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.KVTableService;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.TableCRUDService;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.common.Common;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.common.Condition;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.common.ConditionV320;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.common.Entry;
import org.fisco.bcos.sdk.v3.contract.precompiled.crud.common.UpdateFields;
import org.fisco.bcos.sdk.v3.contract.precompiled.sysconfig.SystemConfigService;
import org.fisco.bcos.sdk.v3.crypto.CryptoSuite;
import org.fisco.bcos.sdk.v3.crypto.keypair.CryptoKeyPair;
import org.fisco.bcos.sdk.v3.eventsub.EventSubParams;
import org.fisco.bcos.sdk.v3.eventsub.EventSubscribe;
import org.fisco.bcos.sdk.v3.model.EventLog;
import org.fisco.bcos.sdk.v3.model.RetCode;
import org.fisco.bcos.sdk.v3.model.TransactionReceipt;
import org.fisco.bcos.sdk.v3.model.callback.TransactionCallback;
import org.fisco.bcos.sdk.v3.transaction.manager.AssembleTransactionProcessor;
import org.fisco.bcos.sdk.v3.transaction.manager.TransactionProcessorFactory;
import org.fisco.bcos.sdk.v3.transaction.manager.transactionv1.AssembleTransactionService;
import org.fisco.bcos.sdk.v3.transaction.manager.transactionv1.utils.TransactionRequestBuilder;
import org.fisco.bcos.sdk.v3.transaction.model.dto.CallResponse;
import org.fisco.bcos.sdk.v3.transaction.model.dto.TransactionResponse;
import org.fisco.bcos.sdk.v3.transaction.model.exception.ContractException;
import org.fisco.bcos.sdk.v3.transaction.model.exception.TransactionBaseException;
import org.fisco.bcos.sdk.v3.utils.Hex;
import org.fisco.bcos.sdk.v3.utils.MerkleProofUtility;

/**
 * What a Java program does with a chain, through the stock SDK.
 *
 * <p>Arguments: the SDK's config.toml, the JSON file with the compiled contracts, the group, the chain, and part of a check's
 * name when only such checks are wanted.
 */
public final class Conformance {
    private static final String PLAIN = "the-topic";

    private final Check check;
    private final BcosSDK sdk;
    private final Client client;
    private final String group;
    private final String chain;
    private final CryptoSuite suite;
    private final CryptoKeyPair account;
    private final String abi;
    private final String bin;
    private final AssembleTransactionProcessor processor;
    private final String unique = Long.toString(System.nanoTime(), 36);
    private String probe;

    private Conformance(String toml, String contracts, String group, String chain, String only) throws Exception {
        JsonNode compiled = new ObjectMapper().readTree(Files.readString(Path.of(contracts))).get("Probe");
        this.abi = compiled.get("abi").toString();
        this.bin = Check.bare(compiled.get("bytecode").asText());
        this.check = new Check(only);
        this.group = group;
        this.chain = chain;
        this.sdk = BcosSDK.build(toml);
        this.client = sdk.getClient(group);
        this.suite = client.getCryptoSuite();
        this.account = suite.getCryptoKeyPair();
        this.processor = TransactionProcessorFactory.createAssembleTransactionProcessor(client, account);
    }

    public static void main(String[] args) throws Exception {
        Conformance all = new Conformance(args[0], args[1], args[2], args[3], args.length > 4 ? args[4] : null);
        boolean good;
        try {
            all.probe = all.deploy(7).getContractAddress();
            all.network();
            all.contracts();
            all.hashes();
            all.refusals();
            all.tables();
            all.files();
            all.configuration();
            all.pushes(args[0]);
        } finally {
            good = all.check.done();
            all.sdk.stopAll();
        }
        // The native library's threads would keep the program alive.
        Runtime.getRuntime().halt(good ? 0 : 1);
    }

    private TransactionResponse deploy(int initial) throws Exception {
        TransactionResponse deployed = processor.deployAndGetResponse(abi, bin, List.of(BigInteger.valueOf(initial)));
        Check.equal(0, deployed.getTransactionReceipt().getStatus());
        return deployed;
    }

    private TransactionResponse send(String method, Object... params) throws Exception {
        return processor.sendTransactionAndGetResponse(probe, abi, method, Arrays.asList(params));
    }

    private CallResponse call(String method, Object... params) throws Exception {
        return processor.sendCall(account.getAddress(), probe, abi, method, Arrays.asList(params));
    }

    private BigInteger value() throws Exception {
        return new BigInteger(call("value").getResults().get(0).getValue().toString());
    }

    private void network() {
        check.that("the handshake names the group, the chain and the cryptography", () -> {
            Check.equal(group, client.getGroup());
            Check.equal(chain, client.getChainId());
            Check.equal(0, client.getCryptoType());
            Check.equal(false, client.isWASM());
            Check.yes(client.getNegotiatedProtocol() > 0, client.getNegotiatedProtocol());
            Check.equal("3.16.4", client.getChainCompatibilityVersion().toVersionString());
            Check.yes(client.isSupportTransactionV1(), "version 1 transactions");
            Check.yes(!client.isAuthCheck(), "auth check");
        });
        check.that("groups and their nodes", () -> {
            Check.yes(client.getGroupList().getResult().getGroupList().contains(group), client.getGroupList().getResult());
            var info = client.getGroupInfo().getResult();
            Check.equal(group, info.getGroupID());
            Check.equal(chain, info.getChainID());
            Check.yes(!info.getNodeList().isEmpty(), "no nodes");
            for (var node : info.getNodeList()) {
                Check.equal(chain, node.getIniConfig().getChainID());
                Check.equal(group, node.getIniConfig().getGroupID());
                Check.equal(false, node.getIniConfig().getWasm());
                Check.equal(false, node.getIniConfig().getSmCryptoType());
                Check.yes(node.getFeatureKeys() == null || !node.getFeatureKeys().isEmpty(), "feature keys");
            }
            Check.equal(1, client.getGroupInfoList().getResult().size());
            String name = info.getNodeList().get(0).getName();
            Check.equal(name, client.getGroupNodeInfo(name).getResult().getName());
        });
        check.that("sealers, observers, peers", () -> {
            List<SealerList.Sealer> sealers = client.getSealerList().getSealerList();
            Check.yes(!sealers.isEmpty(), "no sealers");
            for (SealerList.Sealer sealer : sealers) {
                Check.equal(128, sealer.getNodeID().length());
                Check.yes(sealer.getWeight() >= 1, sealer);
            }
            List<String> ids = sealers.stream().map(SealerList.Sealer::getNodeID).collect(Collectors.toList());
            Check.equal(ids, client.getNodeListByType("consensus_sealer").getSealerList().stream().map(SealerList.Sealer::getNodeID).collect(Collectors.toList()));
            Check.yes(client.getGroupPeers().getGroupPeers().containsAll(ids), client.getGroupPeers().getGroupPeers());
            Check.yes(client.getObserverList().getObserverList() != null, "observers");
            Check.yes(client.getPeers().getPeers() != null, "peers");
        });
        check.that("consensus, synchronisation and the pool", () -> {
            Check.yes(client.getPbftView().getPbftView().signum() >= 0, "view");
            Check.yes(client.getPendingTxSize().getPendingTxSize().signum() >= 0, "pending");
            var consensus = client.getConsensusStatus().getConsensusStatus();
            Check.yes(!consensus.getConsensusNodeInfos().isEmpty(), consensus);
            Check.yes(consensus.getBlockNumber() >= 1, consensus);
            var sync = client.getSyncStatus().getSyncStatus();
            Check.equal(false, sync.getIsSyncing());
            Check.equal(64, Check.bare(sync.getLatestHash()).length());
        });
        check.that("counters", () -> {
            var before = client.getTotalTransactionCount().getTotalTransactionCount();
            send("set", BigInteger.ONE, "count");
            var after = client.getTotalTransactionCount().getTotalTransactionCount();
            BigInteger one = number(after.getTransactionCount()).subtract(number(before.getTransactionCount()));
            Check.yes(one.signum() > 0, "the count stands");
            Check.equal(number(after.getBlockNumber()), client.getBlockNumber().getBlockNumber());
        });
    }

    private static BigInteger number(String text) {
        return text.startsWith("0x") ? new BigInteger(text.substring(2), 16) : new BigInteger(text);
    }

    private void contracts() {
        check.that("deploy keeps code and ABI", () -> {
            TransactionResponse deployed = deploy(9);
            String address = deployed.getContractAddress();
            Check.yes(address != null && Check.bare(address).length() == 40, address);
            Check.yes(Check.bare(client.getCode(address).getCode()).length() > 1000, "code");
            Check.equal(account.getAddress().toLowerCase(), deployed.getTransactionReceipt().getFrom().toLowerCase());
            byte[] data = new ContractCodec(suite, false).encodeConstructor(abi, bin, List.of(BigInteger.TWO));
            TransactionReceipt kept = processor.deployAndGetReceipt(data, abi, null);
            Check.equal(0, kept.getStatus());
            Check.equal(abi, client.getABI(kept.getContractAddress()).getABI());
        });
        check.that("send, call and events", () -> {
            TransactionResponse sent = send("set", BigInteger.valueOf(41), "java");
            Check.equal(0, sent.getTransactionReceipt().getStatus());
            Check.equal(BigInteger.valueOf(41), value());
            List<List<Object>> changed = sent.getEventResultMap().get("Changed");
            Check.equal(1, changed.size());
            Check.yes(changed.get(0).toString().contains("java"), changed);
            Check.equal(1, sent.getTransactionReceipt().getLogEntries().size());
            Check.same(probe, sent.getTransactionReceipt().getLogEntries().get(0).getAddress());
            Check.same(probe, sent.getTransactionReceipt().getTo());
            Check.yes(number(sent.getTransactionReceipt().getGasUsed()).signum() > 0, "gas");
        });
        check.that("a signed call is answered, a wrong signature is not", () -> {
            CallResponse signed = processor.sendCallWithSign(account.getAddress(), probe, abi, "value", List.of());
            Check.equal(0, signed.getReturnCode());
        });
        check.that("transactions of version 1", () -> {
            AssembleTransactionService service = new AssembleTransactionService(client);
            var request = new TransactionRequestBuilder(abi, "set", probe).buildRequest(List.of(BigInteger.valueOf(77), "v1"));
            TransactionResponse sent = service.sendTransaction(request);
            Check.equal(0, sent.getTransactionReceipt().getStatus());
            Check.equal(BigInteger.valueOf(77), value());
            JsonTransactionResponse told = client.getTransaction(sent.getTransactionReceipt().getTransactionHash(), false).getTransaction().get();
            Check.yes(told.getVersion() >= 1, told.getVersion());
            TransactionResponse deployed = service.deployContract(new TransactionRequestBuilder(abi, bin).buildDeployRequest(List.of(BigInteger.TEN)));
            Check.equal(0, deployed.getTransactionReceipt().getStatus());
            Check.yes(deployed.getContractAddress() != null, "address");
        });
        check.that("the reasons of failures", () -> {
            TransactionResponse sent = send("failText");
            Check.equal(16, sent.getTransactionReceipt().getStatus());
            Check.equal("told you so", sent.getReceiptMessages());
            try {
                throw new AssertionError("a failing call gave " + call("failText"));
            } catch (TransactionBaseException expected) {
                Check.equal("told you so", expected.getMessage());
                Check.equal(16, expected.getRetCode().getCode());
            }
            Check.equal(BigInteger.valueOf(77), value());
            TransactionResponse deployed = processor.deployAndGetResponse(abi, bin, List.of(BigInteger.valueOf(13)));
            Check.yes(deployed.getTransactionReceipt().getStatus() != 0, "a failing constructor");
            TransactionReceipt nowhere = processor.sendTransactionAndGetResponse("0x00000000000000000000000000000000000abcde", abi, "set", List.of(BigInteger.ONE, "x")).getTransactionReceipt();
            Check.yes(nowhere.getStatus() != 0, "a call of an address without code: " + nowhere.getStatus());
        });
        check.that("two hundred at once are all answered", () -> {
            int many = 200;
            CountDownLatch left = new CountDownLatch(many);
            AtomicInteger good = new AtomicInteger();
            ConcurrentLinkedQueue<String> bad = new ConcurrentLinkedQueue<>();
            for (int at = 0; at < many; at++) {
                processor.sendTransactionAsync(probe, abi, "set", List.of(BigInteger.valueOf(at), "row"), new TransactionCallback() {
                    @Override
                    public void onResponse(TransactionReceipt receipt) {
                        if (receipt.getStatus() == 0) good.incrementAndGet(); else bad.add(receipt.getStatus() + " " + receipt.getMessage());
                        left.countDown();
                    }
                });
            }
            Check.yes(left.await(30, TimeUnit.SECONDS), left.getCount() + " are not answered");
            Check.yes(good.get() == many, bad);
        });
    }

    private void hashes() {
        check.that("transaction, receipt, header and Merkle proofs agree with the SDK's own calculation", () -> {
            for (TransactionReceipt sent : List.of(send("set", BigInteger.valueOf(5), "hash").getTransactionReceipt(), deploy(3).getTransactionReceipt(), send("failText").getTransactionReceipt(), send("count", BigInteger.valueOf(9)).getTransactionReceipt())) {
                agree(sent.getTransactionHash());
            }
            AssembleTransactionService service = new AssembleTransactionService(client);
            agree(service.sendTransaction(new TransactionRequestBuilder(abi, "set", probe).buildRequest(List.of(BigInteger.ONE, "v1"))).getTransactionReceipt().getTransactionHash());
        });
        check.that("proofs of transactions that share a block", () -> {
            List<String> hashes = Collections.synchronizedList(new ArrayList<>());
            CountDownLatch left = new CountDownLatch(60);
            for (int at = 0; at < 60; at++) {
                processor.sendTransactionAsync(probe, abi, "set", List.of(BigInteger.valueOf(at), "tree"), new TransactionCallback() {
                    @Override
                    public void onResponse(TransactionReceipt receipt) {
                        hashes.add(receipt.getTransactionHash());
                        left.countDown();
                    }
                });
            }
            Check.yes(left.await(30, TimeUnit.SECONDS), "answers");
            for (String hash : hashes) agree(hash);
        });
        check.that("the receipt that answers a transaction carries its proofs when asked", () -> {
            TxPair signed = signedSet(6, "proof", client.getBlockLimit());
            TransactionReceipt receipt = client.sendTransaction(signed.getSignedTx(), true).getTransactionReceipt();
            Check.same(signed.getTxHash(), receipt.getTransactionHash());
            BcosBlock.Block block = client.getBlockByNumber(receipt.getBlockNumber(), true, false).getBlock();
            Check.yes(MerkleProofUtility.verifyMerkle(block.getReceiptsRoot(), receipt.getTxReceiptProof(), receipt.getReceiptHash(), suite), "receipt proof");
        });
        check.that("blocks link to their parents and are found by number and by hash", () -> {
            long head = client.getBlockNumber().getBlockNumber().longValue();
            for (long at = Math.max(1, head - 5); at <= head; at++) {
                BcosBlock.Block block = client.getBlockByNumber(BigInteger.valueOf(at), false, false).getBlock();
                String parent = client.getBlockHashByNumber(BigInteger.valueOf(at - 1)).getBlockHashByNumber();
                Check.same(parent, block.getParentInfo().get(0).getBlockHash());
                Check.equal(block.getNumber(), client.getBlockByHash(block.getHash(), true, true).getBlock().getNumber());
                List<BcosBlock.TransactionHash> only = client.getBlockByNumber(BigInteger.valueOf(at), false, true).getBlock().getTransactionHashes();
                Check.equal(block.getTransactions().size(), only.size());
            }
            BcosBlock.Block first = client.getBlockByNumber(BigInteger.ZERO, false, false).getBlock();
            Check.equal(0L, first.getNumber());
        });
    }

    /** Recomputes everything about a transaction that a client can. */
    private void agree(String hash) throws Exception {
        TransactionReceipt receipt = client.getTransactionReceipt(hash, true).getTransactionReceipt();
        JsonTransactionResponse transaction = client.getTransaction(hash, true).getTransaction().get();
        BcosBlock.Block block = client.getBlockByNumber(receipt.getBlockNumber(), false, false).getBlock();
        // The other form, which takes the suite, hashes the nonce of the answer as it stands there, in hexadecimal.
        Check.same(hash, transaction.calculateHash(0));
        Check.same(hash, transaction.calculateTxHashInNative(suite.getHashImpl()));
        String created = Check.bare(receipt.getContractAddress());
        if (created == null || created.isEmpty()) {
            Check.same(receipt.getReceiptHash(), receipt.calculateReceiptHash(suite));
        } else {
            // The SDK takes the new contract's address as the answer shows it, with 0x; nodes hash it without.
            ByteBuffer fields = ByteBuffer.allocate(4096 + receipt.getOutput().length());
            fields.putInt(receipt.getVersion()).put(number(receipt.getGasUsed()).toString().getBytes(StandardCharsets.UTF_8));
            fields.put(created.getBytes(StandardCharsets.UTF_8)).putInt(receipt.getStatus()).put(Hex.decode(receipt.getOutput()));
            Check.equal(0, receipt.getLogEntries().size());
            fields.putLong(receipt.getBlockNumber().longValue());
            Check.same(receipt.getReceiptHash(), Hex.toHexString(suite.hash(Arrays.copyOf(fields.array(), fields.position()))));
        }
        Check.same(block.getHash(), block.calculateBlockHeaderHash(suite.getHashImpl()));
        Check.yes(MerkleProofUtility.verifyMerkle(block.getTransactionsRoot(), transaction.getTxProof(), hash, suite), "transaction proof of " + hash);
        Check.yes(MerkleProofUtility.verifyMerkle(block.getReceiptsRoot(), receipt.getTxReceiptProof(), receipt.getReceiptHash(), suite), "receipt proof of " + hash);
        Check.yes(!block.getSignatureList().isEmpty(), "no signatures");
        int quorum = block.getSealerList().size() - (block.getSealerList().size() - 1) / 3;
        Check.yes(block.getSignatureList().size() >= quorum, block.getSignatureList().size() + " signatures, quorum " + quorum);
        for (BcosBlockHeader.Signature signature : block.getSignatureList()) {
            String signer = Check.bare(block.getSealerList().get(signature.getIndex()));
            Check.yes(suite.verify("04" + signer, Check.bare(block.getHash()), Check.bare(signature.getSignature())), "signature of sealer " + signature.getIndex());
        }
        boolean listed = block.getTransactionObject().stream().anyMatch(one -> Check.bare(one.getHash()).equals(Check.bare(hash)));
        Check.yes(listed, "the block does not list " + hash);
    }

    private TxPair signedSet(int value, String text, BigInteger limit) throws Exception {
        byte[] data = processor.encodeFunction(abi, "set", List.of(BigInteger.valueOf(value), text));
        return TransactionBuilderJniObj.createSignedTransaction(account.getJniKeyPair(), group, chain, probe, Hex.toHexString(data), "", limit.longValue(), 0);
    }

    private void refused(int code, String raw) {
        try {
            client.sendTransaction(raw, false);
        } catch (ClientException error) {
            Check.equal(code, error.getErrorCode());
            return;
        }
        throw new AssertionError("the transaction was taken; wanted " + code);
    }

    private void refusals() {
        check.that("the pool's refusals have upstream's codes", () -> {
            TxPair once = signedSet(1, "once", client.getBlockLimit());
            Check.equal(0, client.sendTransaction(once.getSignedTx(), false).getTransactionReceipt().getStatus());
            int again = -1;
            try {
                client.sendTransaction(once.getSignedTx(), false);
            } catch (ClientException error) {
                again = error.getErrorCode();
            }
            Check.yes(again == 10000 || again == 10005, "the same again: " + again);
            long head = client.getBlockNumber().getBlockNumber().longValue();
            refused(10001, signedSet(1, "late", BigInteger.valueOf(head)).getSignedTx());
            refused(10001, signedSet(1, "far", BigInteger.valueOf(head + 100_000)).getSignedTx());
            long key = account.getJniKeyPair();
            long limit = client.getBlockLimit().longValue();
            refused(10006, TransactionBuilderJniObj.createSignedTransaction(key, group, "other", probe, "00", "", limit, 0).getSignedTx());
            refused(10007, TransactionBuilderJniObj.createSignedTransaction(key, "other", chain, probe, "00", "", limit, 0).getSignedTx());
        });
        check.that("bad requests are refused and the connection lives on", () -> {
            for (String raw : List.of("0x", "0x1234", "zz", "0x" + "00".repeat(5000))) {
                try {
                    client.sendTransaction(raw, false);
                    throw new AssertionError(raw + " was taken");
                } catch (ClientException expected) {
                    Check.yes(expected.getErrorCode() != 0, "code");
                }
            }
            try {
                client.getBlockByNumber(BigInteger.valueOf(99_999_999), true, true);
                throw new AssertionError("a block of the future");
            } catch (ClientException expected) {
                Check.yes(expected.getErrorCode() != 0, "code");
            }
            Check.yes(client.getBlockNumber().getBlockNumber().signum() > 0, "block number");
        });
    }

    private static Entry entry(String key, String name, String age) {
        return new Entry(List.of("name", "age"), key, Map.of("name", name, "age", age));
    }

    private static void done(int wanted, RetCode found) {
        Check.yes(found.getCode() == wanted, "wanted " + wanted + ", found " + found);
    }

    private static int failure(Check.Body body) throws Exception {
        try {
            body.run();
        } catch (ContractException error) {
            return error.getErrorCode();
        }
        return 0;
    }

    private void tables() {
        check.that("tables: create, insert, select, update, remove, by key and by condition", () -> {
            TableCRUDService crud = new TableCRUDService(client, account);
            String table = "people_" + unique;
            done(0, crud.createTable(table, "id", List.of("name", "age")));
            Check.yes(crud.createTable(table, "id", List.of("name", "age")).getCode() < 0, "created twice");
            Map<String, List<String>> desc = crud.desc(table);
            Check.equal(List.of("id"), desc.get("key_field"));
            Check.equal(List.of("name", "age"), desc.get("value_field"));
            for (int at = 10; at < 30; at++) done(1, crud.insert(table, entry("k" + at, "n" + at, String.valueOf(at))));
            Check.yes(crud.insert(table, entry("k10", "n", "1")).getCode() < 0, "inserted twice");
            Check.equal("n12", crud.select(table, "k12").get("name"));
            Check.equal(true, crud.select(table, "nobody").isEmpty());
            Condition range = new Condition();
            range.GE("k15");
            range.LT("k20");
            range.setLimit(0, 10);
            List<String> names = crud.select(table, range).stream().map(row -> row.get("name")).collect(Collectors.toList());
            Check.equal(List.of("n15", "n16", "n17", "n18", "n19"), names);
            done(1, crud.update(table, "k12", new UpdateFields(Map.of("age", "99"))));
            Check.equal("99", crud.select(table, "k12").get("age"));
            done(5, crud.update(table, range, new UpdateFields(Map.of("name", "same"))));
            done(1, crud.remove(table, "k12"));
            done(5, crud.remove(table, range));
            Check.equal(true, crud.select(table, "k16").isEmpty());
            done(0, crud.appendColumns(table, List.of("town")));
            Check.equal(List.of("name", "age", "town"), crud.desc(table).get("value_field"));
            done(1, crud.update(table, "k20", new UpdateFields(Map.of("town", "here"))));
            Check.equal("here", crud.select(table, "k20").get("town"));
        });
        check.that("tables with numeric keys and conditions on columns", () -> {
            TableCRUDService crud = new TableCRUDService(client, account);
            String table = "numbers_" + unique;
            done(0, crud.createTable(table, Common.TableKeyOrder.Numerical, "id", List.of("name", "age")));
            for (int at = 1; at <= 12; at++) done(1, crud.insert(table, entry(String.valueOf(at), "n" + at, at % 2 == 0 ? "even" : "odd")));
            ConditionV320 condition = new ConditionV320();
            condition.GT("id", "2");
            condition.LE("id", "11");
            condition.EQ("age", "even");
            condition.setLimit(0, 100);
            List<String> keys = crud.select(table, condition).stream().map(row -> row.get("id")).collect(Collectors.toList());
            Check.equal(List.of("4", "6", "8", "10"), keys);
            ConditionV320 text = new ConditionV320();
            text.STARTS_WITH("name", "n1");
            text.setLimit(0, 2);
            Check.equal(2, crud.select(table, text).size());
            done(4, crud.remove(table, condition));
            Check.equal(List.of("Numerical"), crud.descWithKeyOrder(table).get("key_order"));
        });
        check.that("key-value tables", () -> {
            KVTableService kv = new KVTableService(client, account);
            String table = "kv_" + unique;
            done(0, kv.createTable(table, "key", "value"));
            done(1, kv.set(table, "a", "one"));
            done(1, kv.set(table, "a", "two"));
            Check.equal("two", kv.get(table, "a"));
            Check.equal(true, failure(() -> kv.get(table, "b")) != 0);
            Check.equal("key", kv.desc(table).get("key_field"));
            Check.equal(true, failure(() -> kv.get("nothing_" + unique, "a")) != 0);
        });
    }

    private void files() {
        check.that("the file system: folders, links, listing", () -> {
            BFSService bfs = new BFSService(client, account);
            String folder = "/apps/dir_" + unique;
            done(0, bfs.mkdir(folder));
            Check.yes(bfs.mkdir(folder).getCode() < 0, "made twice");
            Check.yes(bfs.mkdir("/sys/no").getCode() < 0, "in /sys");
            Set<String> root = bfs.listBFSInfo("/").stream().map(BFSInfo::getFileName).collect(Collectors.toSet());
            Check.yes(root.containsAll(Set.of("apps", "sys", "tables", "usr")), root);
            Set<String> apps = bfs.listBFSInfo("/apps").stream().map(BFSInfo::getFileName).collect(Collectors.toSet());
            Check.yes(apps.contains("dir_" + unique), apps);
            Check.equal("directory", bfs.isExist(folder).getFileType());
            Check.equal(null, bfs.isExist("/apps/none_" + unique));
            done(0, bfs.link("probe_" + unique, "v1", probe, abi));
            Check.same(probe, bfs.readlink("/apps/probe_" + unique + "/v1"));
            BFSInfo link = bfs.listBFSInfo("/apps/probe_" + unique).get(0);
            Check.equal("v1", link.getFileName());
            Check.equal("link", link.getFileType());
            for (int at = 0; at < 5; at++) done(0, bfs.mkdir(folder + "/sub" + at));
            var page = bfs.listBFSInfo(folder, BigInteger.ONE, BigInteger.TWO);
            Check.equal(2, page.getValue2().size());
            Check.equal(BigInteger.TWO, page.getValue1());
            Check.yes(failure(() -> bfs.listBFSInfo("/apps/none_" + unique)) != 0, "a folder that is not there");
        });
    }

    private void configuration() {
        check.that("system configuration takes effect with its block", () -> {
            SystemConfigService service = new SystemConfigService(client, account);
            String before = client.getSystemConfigByKey(SystemConfigService.TX_COUNT_LIMIT).getSystemConfig().getValue();
            RetCode set = service.setValueByKey(SystemConfigService.TX_COUNT_LIMIT, "1234");
            done(0, set);
            var now = client.getSystemConfigByKey(SystemConfigService.TX_COUNT_LIMIT).getSystemConfig();
            Check.equal("1234", now.getValue());
            Check.equal(set.getTransactionReceipt().getBlockNumber().longValue() + 1, Long.valueOf(now.getBlockNumber()));
            done(0, service.setValueByKey(SystemConfigService.TX_COUNT_LIMIT, before));
            Check.yes(failureOf(() -> service.setValueByKey(SystemConfigService.TX_COUNT_LIMIT, "0")) != 0, "zero");
            Check.yes(failureOf(() -> service.setValueByKey("no_such_key", "1")) != 0, "an unknown key");
            Check.equal("3.16.4", client.getSystemConfigByKey("compatibility_version").getSystemConfig().getValue());
        });
        check.that("node maintenance refuses what may not be", () -> {
            ConsensusService consensus = new ConsensusService(client, account);
            String sealer = client.getSealerList().getSealerList().get(0).getNodeID();
            List<SealerList.Sealer> before = client.getSealerList().getSealerList();
            String stranger = "ab".repeat(64);
            Check.yes(failureOf(() -> consensus.addSealer(stranger, BigInteger.ONE)) != 0, "a sealer that was no observer");
            Check.yes(failureOf(() -> consensus.addObserver("short")) != 0, "no node id");
            Check.yes(failureOf(() -> consensus.setWeight(stranger, BigInteger.TWO)) != 0, "the weight of a stranger");
            if (before.size() == 1) {
                Check.yes(failureOf(() -> consensus.removeNode(sealer)) != 0, "the last sealer");
            }
            Check.equal(0, failureOf(() -> consensus.setWeight(sealer, BigInteger.TWO)));
            Check.eventually("the weight", () -> client.getSealerList().getSealerList().stream().anyMatch(one -> one.getNodeID().equals(sealer) && one.getWeight() == 2));
            Check.equal(0, failureOf(() -> consensus.setWeight(sealer, BigInteger.ONE)));
            Check.equal(BigInteger.valueOf(31), valueAfter(31));
        });
    }

    private BigInteger valueAfter(int next) throws Exception {
        Check.equal(0, send("set", BigInteger.valueOf(next), "after").getTransactionReceipt().getStatus());
        return value();
    }

    interface Answer {
        RetCode get() throws Exception;
    }

    private static int failureOf(Answer answer) throws Exception {
        try {
            return answer.get().getCode();
        } catch (ContractException error) {
            return error.getErrorCode() == 0 ? -1 : error.getErrorCode();
        } catch (ClientException error) {
            return error.getErrorCode() == 0 ? -1 : error.getErrorCode();
        }
    }

    private void pushes(String toml) {
        check.that("every block is told", () -> {
            ConcurrentLinkedQueue<Long> told = new ConcurrentLinkedQueue<>();
            sdk.registerBlockNotifier(group, (name, number) -> told.add(number.longValue()));
            long block = send("set", BigInteger.valueOf(2), "told").getTransactionReceipt().getBlockNumber().longValue();
            Check.eventually("block " + block, () -> told.contains(block));
            long limit = client.getBlockLimit().longValue();
            Check.yes(limit > block + 400, "the block limit " + limit + " follows the head " + block);
        });
        check.that("events of the past and of the future are pushed", () -> {
            long from = send("set", BigInteger.valueOf(3), "past").getTransactionReceipt().getBlockNumber().longValue();
            EventSubscribe events = EventSubscribe.build(client);
            events.start();
            ConcurrentLinkedQueue<EventLog> found = new ConcurrentLinkedQueue<>();
            AtomicReference<String> id = new AtomicReference<>();
            EventSubParams params = new EventSubParams();
            params.setFromBlock(BigInteger.valueOf(from));
            params.setToBlock(BigInteger.valueOf(-1));
            params.addAddress(probe);
            params.addTopic(0, "0x" + Check.bare(suite.hash("Changed(address,uint256,string)")));
            id.set(events.subscribeEvent(params, (topic, status, logs) -> {
                if (logs != null) found.addAll(logs);
            }));
            Check.eventually("the past event", () -> found.size() == 1);
            send("count", BigInteger.ONE);
            TransactionReceipt next = send("set", BigInteger.valueOf(4), "future").getTransactionReceipt();
            Check.eventually("the future event", () -> found.size() == 2);
            List<EventLog> logs = new ArrayList<>(found);
            Check.equal(BigInteger.valueOf(from), logs.get(0).getBlockNumber());
            Check.equal(next.getBlockNumber(), logs.get(1).getBlockNumber());
            Check.same(next.getTransactionHash(), logs.get(1).getTransactionHash());
            Check.same(probe, logs.get(1).getAddress());
            events.unsubscribeEvent(id.get());
            Thread.sleep(500);
            send("set", BigInteger.valueOf(5), "unheard");
            Thread.sleep(500);
            Check.equal(2, found.size());
            events.stop();
        });
        check.that("messages between clients: asked, answered, told to all, and nobody there", () -> {
            BcosSDK other = BcosSDK.build(toml);
            Amop listener = other.getAmop();
            Amop sender = sdk.getAmop();
            listener.start();
            sender.start();
            ConcurrentLinkedQueue<String> heard = new ConcurrentLinkedQueue<>();
            listener.setCallback((endpoint, seq, data) -> {
                heard.add(new String(data, StandardCharsets.UTF_8));
                listener.sendResponse(endpoint, seq, "pong".getBytes(StandardCharsets.UTF_8));
            });
            listener.subscribeTopic(Set.of(PLAIN));
            AtomicReference<String> answer = new AtomicReference<>();
            // The subscription travels on its own way: the first message may come before it.
            Check.eventually("an answer", () -> {
                CountDownLatch back = new CountDownLatch(1);
                sender.sendAmopMsg(PLAIN, "ping".getBytes(StandardCharsets.UTF_8), 5000, response -> {
                    if (response.getErrorCode() == 0) answer.set(new String(response.getData(), StandardCharsets.UTF_8));
                    back.countDown();
                });
                return back.await(6, TimeUnit.SECONDS) && answer.get() != null;
            });
            Check.yes(answer.get().contains("pong"), answer.get());
            Check.yes(heard.contains("ping"), heard);
            sender.broadcastAmopMsg(PLAIN, "everyone".getBytes(StandardCharsets.UTF_8));
            Check.eventually("the broadcast", () -> heard.contains("everyone"));
            AtomicInteger code = new AtomicInteger();
            CountDownLatch back = new CountDownLatch(1);
            sender.sendAmopMsg("nobody", new byte[] {1}, 5000, response -> {
                code.set(response.getErrorCode());
                back.countDown();
            });
            Check.yes(back.await(10, TimeUnit.SECONDS), "no answer about nobody");
            Check.yes(code.get() != 0, "nobody answered");
            byte[] large = new byte[1 << 20];
            Arrays.fill(large, (byte) 'x');
            sender.broadcastAmopMsg(PLAIN, large);
            Check.eventually("a megabyte", () -> heard.stream().anyMatch(text -> text.length() == large.length));
            other.stopAll();
        });
    }
}
