//! A machine that records every instruction in the form that nodes answer.

use alloy_primitives::{Address, U256};
use konsort_workbench::compiler::CompiledContract;
use konsort_workbench::values::{Suite, encode_call, encode_constructor};
use revm::bytecode::opcode::OpCode;
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::database::{CacheDB, EmptyDB};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::Jumps as _;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter};
use revm::primitives::TxKind;
use revm::{Context, InspectCommitEvm as _, Inspector, MainBuilder as _, MainContext as _};
use serde_json::{Value, json};

#[derive(Default)]
struct Recorder {
    steps: Vec<Value>,
    depth: u64,
}

impl<CTX> Inspector<CTX, EthInterpreter> for Recorder {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _context: &mut CTX) {
        let stack: Vec<String> = interpreter.stack.data().iter().map(|word| format!("{word:#x}")).collect();
        self.steps.push(json!({
            "pc": interpreter.bytecode.pc(), "op": OpCode::name_by_op(interpreter.bytecode.opcode()),
            "gas": interpreter.gas.remaining(), "gasCost": 0, "depth": self.depth, "stack": stack,
        }));
    }

    fn call(&mut self, _context: &mut CTX, _inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.depth += 1;
        None
    }

    fn call_end(&mut self, _context: &mut CTX, _inputs: &CallInputs, _outcome: &mut CallOutcome) {
        self.depth -= 1;
    }

    fn create(&mut self, _context: &mut CTX, _inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.depth += 1;
        None
    }

    fn create_end(&mut self, _context: &mut CTX, _inputs: &CreateInputs, _outcome: &mut CreateOutcome) {
        self.depth -= 1;
    }
}

pub(crate) struct Machine {
    state: CacheDB<EmptyDB>,
    nonce: u64,
}

/// What a transaction did.
pub(crate) struct Done {
    pub(crate) ok: bool,
    pub(crate) output: Vec<u8>,
    pub(crate) logs: Vec<(Vec<Vec<u8>>, Vec<u8>)>,
    pub(crate) steps: Vec<Value>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { state: CacheDB::new(EmptyDB::default()), nonce: 0 }
    }

    pub(crate) fn caller() -> Address {
        Address::repeat_byte(0xaa)
    }

    fn run(&mut self, kind: TxKind, data: Vec<u8>) -> (Done, Option<Address>) {
        let mut recorder = Recorder::default();
        let result = {
            let mut evm = Context::mainnet().with_db(&mut self.state).build_mainnet_with_inspector(&mut recorder);
            let tx = TxEnv::builder()
                .caller(Self::caller())
                .kind(kind)
                .data(data.into())
                .nonce(self.nonce)
                .gas_limit(12_000_000);
            evm.inspect_tx_commit(tx.build().unwrap()).unwrap()
        };
        self.nonce += 1;
        let ok = result.is_success();
        let output = result.output().map(|output| output.to_vec()).unwrap_or_default();
        let address =
            if let ExecutionResult::Success { output, .. } = &result { output.address().copied() } else { None };
        let logs = result
            .logs()
            .iter()
            .map(|log| (log.topics().iter().map(|topic| topic.to_vec()).collect(), log.data.data.to_vec()));
        (Done { ok, output, logs: logs.collect(), steps: recorder.steps }, address)
    }

    pub(crate) fn deploy(&mut self, contract: &CompiledContract, arguments: &Value) -> (Address, Done) {
        let data = encode_constructor(&contract.interface, &contract.bytecode, arguments).unwrap();
        let (done, address) = self.run(TxKind::Create, data);
        assert!(done.ok, "0x{}", hex::encode(&done.output));
        (address.unwrap(), done)
    }

    pub(crate) fn call(&mut self, contract: &CompiledContract, at: Address, method: &str, arguments: &Value) -> Done {
        let method = contract.interface.method(method, None).unwrap();
        let data = encode_call(method, arguments, Suite::Keccak).unwrap();
        self.run(TxKind::Call(at), data).0
    }
}

pub(crate) fn word(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}
