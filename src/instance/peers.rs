//! The instances that serve one queue, and which of them still can: one whose device is lost leaves
//! the work to the others, and only if there are none does it answer itself, with the reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::device::Account;

/// The instances of one queue.
#[derive(Debug, Default)]
pub struct Peers {
    /// What each takes of its device, `None` on the host.
    accounts: Mutex<Vec<Option<Arc<Account>>>>,
}

impl Peers {
    pub(super) fn join(&self, account: Option<Arc<Account>>) {
        self.locked().push(account);
    }

    /// Whether any of them can run a batch. Without instances there is none that cannot.
    pub fn any_able(&self) -> bool {
        let accounts = self.locked();
        let is_able = |account: &Account| account.device().lost().is_none();
        accounts.is_empty()
            || accounts
                .iter()
                .any(|account| account.as_deref().is_none_or(is_able))
    }

    /// What those on devices take, in the order in which they came up.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.locked().iter().flatten().cloned().collect()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Option<Arc<Account>>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
