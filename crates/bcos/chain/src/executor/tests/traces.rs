//! Looking into transactions.

use super::*;
use crate::executor::trace::{CallKind, CallOptions, StepOptions, Traced};

#[test]
fn traces_show_calls_steps_and_places() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(100), 1);
    let probe = deploy(&executor, &mut world, "Probe", &[], 2);
    let plain = bcos(Some(token), transfer(&executor, BOB, 1));
    let untraced = executor.execute_transaction(&world, &env(3), &plain, 0).unwrap();

    let (outcome, steps) =
        executor.trace_steps(&world, &env(3), &Traced::Transaction(&plain, 0), &StepOptions::default()).unwrap();
    let sorted = |mut outcome: TxOutcome| {
        outcome.reads.sort_unstable();
        outcome
    };
    assert_eq!(sorted(outcome), sorted(untraced.clone()), "looking changes nothing");
    assert_eq!((steps[0].pc, steps[0].op, steps[0].depth), (0, "PUSH1", 1));
    assert_eq!(steps[0].gas, 3_000_000_000 - CALL_GAS);
    assert_eq!(steps.last().unwrap().op, "RETURN");
    let used: u64 = steps.iter().map(|step| step.gas_cost).sum();
    assert_eq!(used + CALL_GAS, untraced.gas_used);
    let stores: Vec<_> = steps.iter().filter(|step| step.op == "SSTORE").collect();
    assert_eq!(stores.len(), 2);
    assert_eq!(stores[1].storage.as_ref().unwrap().len(), 2);
    let few = StepOptions { limit: 10, memory: true, ..StepOptions::default() };
    let (_, steps) = executor.trace_steps(&world, &env(3), &Traced::Transaction(&plain, 0), &few).unwrap();
    assert_eq!(steps.len(), 10);
    assert_eq!(steps[9].memory.as_ref().unwrap().len() % 32, 0);

    let mut arguments = uint(32);
    arguments.extend(uint(1));
    arguments.extend([b't'; 32]);
    let nested = bcos(Some(probe), data(&executor, "tableThenFail(string)", &arguments));
    let (outcome, call) =
        executor.trace_calls(&world, &env(3), &Traced::Transaction(&nested, 0), CallOptions::default()).unwrap();
    assert_eq!(outcome.status, 0);
    assert_eq!((call.kind, call.from, call.to, call.gas_used), (CallKind::Call, ALICE, Some(probe), outcome.gas_used));
    let failed = &call.calls[0];
    assert_eq!((failed.to, failed.error.as_deref()), (Some(probe), Some("execution reverted")));
    assert_eq!(failed.revert_reason.as_deref(), Some("after the table"));
    assert_eq!(failed.calls.len(), 1);
    assert!(failed.calls[0].error.is_none());
    // The row written in the failed call is gone; the slot of the outer one is there.
    assert_eq!(outcome.writes.len(), 1, "{:?}", outcome.writes);
    let top = CallOptions { only_top: true, ..CallOptions::default() };
    let (_, top) = executor.trace_calls(&world, &env(3), &Traced::Transaction(&nested, 0), top).unwrap();
    assert!(top.calls.is_empty());
    let fail = CallRequest {
        to: Some(probe),
        data: data(&executor, "fail(uint256)", &uint(0)).into(),
        ..CallRequest::default()
    };
    let (_, call) = executor.trace_calls(&world, &env(3), &Traced::Call(&fail), CallOptions::default()).unwrap();
    assert_eq!(call.revert_reason.as_deref(), Some("as told"));

    let request = CallRequest { from: ALICE, to: Some(token), data: plain.input.clone(), ..CallRequest::default() };
    let (answer, list) = executor.access_list(&world, &env(3), &request).unwrap();
    assert_eq!(answer.status, 0);
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].0, list[0].1.len()), (token, 2));
}

/// A contract that writes an event with this topic and then does the rest.
fn logging(topic: u8, rest: &[u8]) -> Vec<u8> {
    [&[0x60, topic, 0x5f, 0x5f, 0xa1], rest].concat()
}

/// Calls an address below 256 without data.
fn calling(to: u8) -> Vec<u8> {
    vec![0x5f, 0x5f, 0x5f, 0x5f, 0x5f, 0x60, to, 0x5a, 0xf1, 0x50]
}

#[test]
fn events_are_shown_in_their_calls_unless_they_were_undone() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let (outer, good, bad, below) = (0x51, 0x52, 0x53, 0x54);
    let install = |world: &mut World, at: u8, code: Vec<u8>| world.install(Address::with_last_byte(at), &code);
    install(&mut world, below, logging(4, &[0]));
    install(&mut world, good, logging(2, &[0]));
    install(&mut world, bad, logging(3, &[calling(below), vec![0x5f, 0x5f, 0xfd]].concat()));
    let code = [calling(good), logging(1, &calling(bad)), logging(5, &[])].concat();
    install(&mut world, outer, code);
    let call = bcos(Some(Address::with_last_byte(outer)), Vec::new());
    let trace = |options| executor.trace_calls(&world, &env(3), &Traced::Transaction(&call, 0), options).unwrap();
    let (outcome, tree) = trace(CallOptions { with_log: true, only_top: false });
    assert_eq!((outcome.status, outcome.logs.len()), (0, 3));
    let shown = |call: &crate::executor::trace::TracedCall| -> Vec<(u8, usize)> {
        call.logs.iter().map(|log| (log.log.topics[0].0[31], log.position)).collect()
    };
    assert_eq!(shown(&tree), [(1, 1), (5, 2)]);
    assert_eq!(tree.logs[0].log.address, Address::with_last_byte(outer));
    assert_eq!(shown(&tree.calls[0]), [(2, 0)]);
    // As they stand in the receipt: the call's own comes first, the undone ones are not counted.
    let places: Vec<usize> = tree.calls[0].logs.iter().chain(&tree.logs).map(|log| log.index).collect();
    assert_eq!(places, [0, 1, 2]);
    // The second call failed, and what it had called is undone with it.
    assert!(tree.calls[1].error.is_some() && tree.calls[1].logs.is_empty());
    assert!(tree.calls[1].calls[0].error.is_none() && tree.calls[1].calls[0].logs.is_empty());
    let (_, top) = trace(CallOptions { with_log: true, only_top: true });
    assert_eq!((shown(&top).iter().map(|(topic, _)| *topic).collect::<Vec<_>>(), top.calls.len()), (vec![1, 5], 0));
    let (_, none) = trace(CallOptions::default());
    assert!(none.logs.is_empty() && none.calls[0].logs.is_empty());
}

#[test]
fn touched_accounts_are_shown_before_and_after() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(100), 1);
    let mut plain = bcos(Some(token), transfer(&executor, BOB, 30));
    plain.web3 = true;
    let untraced = executor.execute_transaction(&world, &env(3), &plain, 0).unwrap();
    let (outcome, touched) = executor.trace_state(&world, &env(3), &Traced::Transaction(&plain, 0)).unwrap();
    assert_eq!((outcome.status, outcome.gas_used), (0, untraced.gas_used));
    let (before, after) = (&touched.before[&token], &touched.after[&token]);
    assert_eq!(before.code, world.code_of(token));
    assert_eq!((before.code.len(), before.nonce), (after.code.len(), after.nonce));
    let values = |storage: &std::collections::BTreeMap<B256, B256>| {
        let mut values: Vec<u64> = storage.values().map(|value| U256::from_be_bytes(value.0).to()).collect();
        values.sort_unstable();
        values
    };
    assert_eq!((values(&before.storage), values(&after.storage)), (vec![0, 100], vec![30, 70]));
    assert_eq!((touched.before[&ALICE].nonce, touched.after[&ALICE].nonce), (0, 1));
    assert!(touched.before[&ALICE].is_empty() && !touched.after[&ALICE].is_empty());
    assert!(touched.before.keys().eq(touched.after.keys()));

    // A deployment: nothing before, code afterwards.
    let mut made = bcos(None, [code("Token"), uint(5)].concat());
    made.web3 = true;
    let (outcome, touched) = executor.trace_state(&world, &env(4), &Traced::Transaction(&made, 0)).unwrap();
    let address = outcome.contract_address.unwrap();
    assert!(touched.before[&address].is_empty());
    assert!(!touched.after[&address].code.is_empty());
    assert_eq!(values(&touched.after[&address].storage), [5, 5]);
}
