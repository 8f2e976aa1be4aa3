//! What a proposal weighs. Decides nothing but its size.

use mvcc::{Command, CommandBody, Operation, Transaction};

/// Largest transaction. Two objects of the largest size, 8 MiB, fit.
pub(crate) const TRANSACTION_BYTES_MAX: usize = 17 << 20;

/// Bytes a transaction takes in log and memory, within a few percent.
pub(crate) fn transaction_cost(transaction: &Transaction) -> usize {
    /// A key, a revision and what stands around them.
    const SMALL: usize = 128;
    let operations = transaction.operations.iter().map(|operation| match operation {
        Operation::Put(object) => object.cost(),
        Operation::Delete(_) => SMALL,
    });
    operations.sum::<usize>() + transaction.preconditions.len() * SMALL
}

/// Bytes a command takes in log and memory, within a few percent.
pub(crate) fn cost(command: &Command) -> usize {
    match &command.body {
        CommandBody::Transact(transaction) => transaction_cost(transaction),
        CommandBody::Compact(_) => 0,
    }
}
