//! The table of instructions: Cancun with the engine's SELFDESTRUCT, its flat access costs and, on SM chains, SM3.

use std::marker::PhantomData;

use revm::bytecode::opcode;
use revm::context_interface::Host;
use revm::context_interface::cfg::GasParams;
use revm::context_interface::cfg::gas_params::GasId;
use revm::handler::instructions::InstructionProvider;
use revm::interpreter::instructions::{GasTable, InstructionTable, gas_table_spec, instruction_table};
use revm::interpreter::interpreter::{EthInterpreter, resize_memory};
use revm::interpreter::interpreter_types::RuntimeFlag;
use revm::interpreter::{Instruction, InstructionContext, InstructionExecResult, InstructionResult};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{B256, U256};

use super::Ctx;

/// Specification all blocks run under.
pub(crate) const SPEC: SpecId = SpecId::CANCUN;

const COLD_ACCOUNT: u16 = 2_600;
const COLD_SLOT: u16 = 2_100;
const STORE: u64 = 5_000;

static GAS: GasTable = {
    let mut table = gas_table_spec(SPEC);
    let accounts = [
        opcode::BALANCE,
        opcode::EXTCODESIZE,
        opcode::EXTCODECOPY,
        opcode::EXTCODEHASH,
        opcode::CALL,
        opcode::CALLCODE,
        opcode::DELEGATECALL,
        opcode::STATICCALL,
    ];
    let mut i = 0;
    while i < accounts.len() {
        table[accounts[i] as usize] = COLD_ACCOUNT;
        i += 1;
    }
    table[opcode::SLOAD as usize] = COLD_SLOT;
    table[opcode::SELFDESTRUCT as usize] = 5_000 + COLD_ACCOUNT;
    table
};

/// Dynamic costs: accesses are charged in full by [`GAS`], a store always costs the same, accounts always exist.
pub(crate) fn gas_params() -> GasParams {
    let mut params = GasParams::new_spec(SPEC);
    params.override_gas([
        (GasId::cold_account_additional_cost(), 0),
        (GasId::cold_storage_additional_cost(), 0),
        (GasId::cold_storage_cost(), 0),
        (GasId::new_account_cost(), 0),
        (GasId::sstore_static(), STORE),
        (GasId::sstore_set_without_load_cost(), 0),
        (GasId::sstore_reset_without_cold_load_cost(), 0),
    ]);
    params
}

/// Instructions of a chain's suite.
#[derive(Debug)]
pub(crate) struct Instructions<'a> {
    sm: bool,
    context: PhantomData<fn(Ctx<'a>)>,
}

impl<'a> Instructions<'a> {
    const INTERNATIONAL: InstructionTable<EthInterpreter, Ctx<'a>> = {
        let mut table = instruction_table::<EthInterpreter, Ctx<'a>>();
        table[opcode::SELFDESTRUCT as usize] = Instruction::new(selfdestruct);
        table
    };

    const SM: InstructionTable<EthInterpreter, Ctx<'a>> = {
        let mut table = Self::INTERNATIONAL;
        table[opcode::KECCAK256 as usize] = Instruction::new(sm3);
        table
    };

    pub(crate) fn new(sm: bool) -> Self {
        Self { sm, context: PhantomData }
    }
}

impl<'a> InstructionProvider for Instructions<'a> {
    type Context = Ctx<'a>;
    type InterpreterTypes = EthInterpreter;

    fn instruction_table(&self) -> &InstructionTable<EthInterpreter, Ctx<'a>> {
        if self.sm { &Self::SM } else { &Self::INTERNATIONAL }
    }

    fn gas_table(&self) -> &GasTable {
        &GAS
    }
}

/// Stops the frame; neither code nor balance goes.
fn selfdestruct<H: Host + ?Sized>(context: InstructionContext<'_, H, EthInterpreter>) -> InstructionExecResult {
    if context.interpreter.runtime_flag.is_static() {
        return Err(InstructionResult::StateChangeDuringStaticCall);
    }
    context.interpreter.stack.pop()?;
    Err(InstructionResult::SelfDestruct)
}

/// KECCAK256 of SM chains.
fn sm3<H: Host + ?Sized>(context: InstructionContext<'_, H, EthInterpreter>) -> InstructionExecResult {
    let offset = context.interpreter.stack.pop()?;
    let length = context.interpreter.stack.pop()?;
    let length = usize::try_from(length).map_err(|_| InstructionResult::InvalidOperandOOG)?;
    if !context.interpreter.gas.record_regular_cost(context.host.gas_params().keccak256_cost(length)) {
        return Err(InstructionResult::OutOfGas);
    }
    let hash = if length == 0 {
        konsort_crypto::hash::sm3(&[])
    } else {
        let offset = usize::try_from(offset).map_err(|_| InstructionResult::InvalidOperandOOG)?;
        resize_memory(
            &mut context.interpreter.gas,
            &mut context.interpreter.memory,
            context.host.gas_params(),
            offset,
            length,
        )?;
        konsort_crypto::hash::sm3(context.interpreter.memory.slice_len(offset, length).as_ref())
    };
    if context.interpreter.stack.push(U256::from_be_bytes(B256::from(hash).0)) {
        Ok(())
    } else {
        Err(InstructionResult::StackOverflow)
    }
}
