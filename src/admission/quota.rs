//! How much a role lets a principal ask for, and what each has asked for already.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroU64},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::bucket::{Bucket, Rate};
use crate::error::{Error, Result};

/// How much a principal may ask for; what is not set has no bound.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Requests a second, over time.
    pub requests_per_second: Option<NonZeroU32>,
    /// Requests at once after a pause; those of one second if not set.
    pub request_burst: Option<NonZeroU32>,
    /// Bytes of input tensors a second, over time. Those of one second may come at once.
    pub input_bytes_per_second: Option<NonZeroU64>,
    /// Requests that are under way.
    pub requests_in_flight: Option<NonZeroU32>,
}

impl Quota {
    /// Of each bound the narrower one.
    pub(super) fn strictest(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        Self {
            requests_per_second: least(self.requests_per_second, other.requests_per_second),
            request_burst: least(self.request_burst, other.request_burst),
            input_bytes_per_second: least(
                self.input_bytes_per_second,
                other.input_bytes_per_second,
            ),
            requests_in_flight: least(self.requests_in_flight, other.requests_in_flight),
        }
    }

    fn requests(&self) -> Option<Rate> {
        let per_second = self.requests_per_second?;
        Some(Rate {
            per_second: per_second.into(),
            burst: self.request_burst.unwrap_or(per_second).into(),
        })
    }

    fn bytes(&self) -> Option<Rate> {
        let per_second = self.input_bytes_per_second?;
        Some(Rate {
            per_second,
            burst: per_second,
        })
    }
}

/// What principals have asked for, by name.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<String, Arc<Account>>>);

impl Accounts {
    /// Counts one request of `name`; the account is to be held until it has been answered.
    ///
    /// # Errors
    /// `ResourceExhausted` if that is more than `quota` allows, or if more than `limit` principals
    /// have something to count.
    pub(super) fn enter(
        &self,
        name: &str,
        quota: Quota,
        limit: usize,
        now: Instant,
    ) -> Result<Entry> {
        let account = self.account(name, limit, now)?;
        account.enter(name, quota, now)?;
        Ok(Entry { account, quota })
    }

    fn account(&self, name: &str, limit: usize, now: Instant) -> Result<Arc<Account>> {
        let mut accounts = lock(&self.0);
        if let Some(account) = accounts.get(name) {
            return Ok(Arc::clone(account));
        }
        if accounts.len() >= limit {
            accounts.retain(|_, account| !account.is_idle(now));
        }
        if accounts.len() >= limit {
            return Err(Error::resource_exhausted(
                "principals",
                format!("more than {limit} principals with quotas are active"),
            ));
        }
        let account = Arc::<Account>::default();
        accounts.insert(name.to_owned(), Arc::clone(&account));
        Ok(account)
    }
}

/// What one principal has asked for.
#[derive(Debug, Default)]
struct Account(Mutex<Balance>);

#[derive(Debug, Default)]
struct Balance {
    requests: Bucket,
    bytes: Bucket,
    in_flight: u32,
}

impl Account {
    fn enter(&self, name: &str, quota: Quota, now: Instant) -> Result<()> {
        let mut balance = lock(&self.0);
        if let Some(limit) = quota.requests_in_flight
            && balance.in_flight >= limit.get()
        {
            let what = format!("{limit} requests in flight");
            return Err(exceeded(name, &what, Duration::ZERO));
        }
        if let Some(rate) = quota.bytes() {
            let what = || format!("{} bytes of inputs a second", rate.per_second);
            let checked = balance.bytes.check(rate, now);
            checked.map_err(|wait| exceeded(name, &what(), wait))?;
        }
        if let Some(rate) = quota.requests() {
            let what = || format!("{} requests a second", rate.per_second);
            let taken = balance.requests.take(rate, 1, now);
            taken.map_err(|wait| exceeded(name, &what(), wait))?;
        }
        balance.in_flight = balance.in_flight.saturating_add(1);
        Ok(())
    }

    /// Whether a new account would be the same.
    fn is_idle(&self, now: Instant) -> bool {
        let balance = lock(&self.0);
        balance.in_flight == 0 && balance.requests.is_full(now) && balance.bytes.is_full(now)
    }
}

/// One request that was counted. Dropped when it has been answered.
#[derive(Debug)]
pub(super) struct Entry {
    account: Arc<Account>,
    quota: Quota,
}

impl Entry {
    /// Counts a request's input. The request itself is not refused: it was let in before its size
    /// was known. The next one may be.
    pub(super) fn charge(&self, byte_size: u64, now: Instant) {
        if let Some(rate) = self.quota.bytes() {
            lock(&self.account.0).bytes.charge(rate, byte_size, now);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut balance = lock(&self.account.0);
        balance.in_flight = balance.in_flight.saturating_sub(1);
    }
}

fn exceeded(name: &str, what: &str, wait: Duration) -> Error {
    let who = match name {
        "" => "callers without credentials".to_owned(),
        name => format!("'{}'", name.escape_debug()),
    };
    Error::resource_exhausted("quota", format!("the quota of {who} is used up: {what}"))
        .with_retry_after(wait)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn quota(text: &str) -> Quota {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn requests_beyond_the_rate_are_told_when_to_come_again() {
        let (accounts, now) = (Accounts::default(), Instant::now());
        let quota = quota("{ requests_per_second: 2, request_burst: 1 }");
        assert!(accounts.enter("key:a", quota, 9, now).is_ok());
        let error = accounts.enter("key:a", quota, 9, now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        assert_eq!(
            error.message(),
            "the quota of 'key:a' is used up: 2 requests a second"
        );
        // Others have quotas of their own.
        assert!(accounts.enter("key:b", quota, 9, now).is_ok());
        let later = now + Duration::from_millis(500);
        assert!(accounts.enter("key:a", quota, 9, later).is_ok());
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_are_answered() {
        let (accounts, now) = (Accounts::default(), Instant::now());
        let quota = quota("{ requests_in_flight: 2 }");
        let first = accounts.enter("", quota, 9, now).unwrap();
        let _second = accounts.enter("", quota, 9, now).unwrap();
        let error = accounts.enter("", quota, 9, now).unwrap_err();
        assert!(error.message().contains("callers without credentials"));
        drop(first);
        assert!(accounts.enter("", quota, 9, now).is_ok());
    }

    #[test]
    fn a_large_request_is_let_in_and_makes_the_next_one_wait() {
        let (accounts, now) = (Accounts::default(), Instant::now());
        let quota = quota("{ input_bytes_per_second: 100 }");
        let entry = accounts.enter("key:a", quota, 9, now).unwrap();
        entry.charge(300, now);
        let error = accounts.enter("key:a", quota, 9, now).unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
        let later = now + Duration::from_secs(2);
        assert!(accounts.enter("key:a", quota, 9, later).is_ok());
    }

    #[test]
    fn accounts_that_are_like_new_make_room() {
        let (accounts, now) = (Accounts::default(), Instant::now());
        let quota = quota("{ requests_per_second: 1 }");
        drop(accounts.enter("key:a", quota, 1, now).unwrap());
        assert!(accounts.enter("key:b", quota, 1, now).is_err());
        let later = now + Duration::from_secs(1);
        let held = accounts.enter("key:b", quota, 1, later).unwrap();
        let much_later = later + Duration::from_secs(60);
        assert!(accounts.enter("key:c", quota, 1, much_later).is_err());
        drop(held);
        assert!(accounts.enter("key:c", quota, 1, much_later).is_ok());
    }

    #[test]
    fn of_two_quotas_the_narrower_bounds_hold() {
        let a = quota("{ requests_per_second: 5, requests_in_flight: 1 }");
        let b = quota("{ requests_per_second: 7, request_burst: 9 }");
        let both = quota("{ requests_per_second: 5, request_burst: 9, requests_in_flight: 1 }");
        assert_eq!(a.strictest(b), both);
        assert_eq!(b.strictest(a), both);
    }
}
