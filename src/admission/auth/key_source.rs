//! Where the keys come from that tokens are signed with: a file, or a URL that is asked again and
//! again. Whoever checks a token only looks at what is there; another thread fetches. What was fetched
//! last stays in force until something better comes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};

use super::{AuthError, JWKS_BYTE_SIZE, config::JwtConfig, fetch::Source, jwks::KeySet};
use crate::follow::Follow;

/// After a failure, or when a token names a key that is not known, the keys are fetched again, but not
/// more often than this. Anybody can make up such a token.
const LEAST_GAP: Duration = Duration::from_secs(10);

/// The keys as they are now.
#[derive(Debug, Default)]
pub struct KeySource {
    keys: ArcSwap<KeySet>,
    /// Whether a key was missing since they were fetched.
    is_missing_one: AtomicBool,
}

impl From<KeySet> for KeySource {
    fn from(keys: KeySet) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            is_missing_one: AtomicBool::default(),
        }
    }
}

impl From<KeySet> for Arc<KeySource> {
    fn from(keys: KeySet) -> Self {
        Self::new(keys.into())
    }
}

impl KeySource {
    pub(super) fn load(&self) -> Guard<Arc<KeySet>> {
        self.keys.load()
    }

    /// Notes that a token names a key that is not here.
    pub(super) fn miss(&self) {
        self.is_missing_one.store(true, Ordering::Relaxed);
    }
}

/// Keys that are fetched from a URL.
#[derive(Debug)]
pub(in crate::admission) struct FetchedKeys {
    url: String,
    source: Source,
    refresh: Duration,
    keys: Arc<KeySource>,
    last: Mutex<Option<Attempt>>,
    fetches: [AtomicU64; 2],
}

/// When something was tried, and whether it went well.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Instant,
    went_well: bool,
}

/// How often keys were fetched since the server started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFetches {
    /// With keys as the result.
    pub succeeded: u64,
    /// Without.
    pub failed: u64,
}

impl FetchedKeys {
    /// Fetches the keys at `url` for the first time. That this fails is no error: a server must be able
    /// to start before the issuer does.
    ///
    /// # Errors
    /// If the settings make no sense.
    pub(super) fn start(url: &str, config: &JwtConfig) -> Result<Self, AuthError> {
        let refuse = |reason| AuthError::Content {
            place: "auth.jwt.jwks_url".to_owned(),
            reason,
        };
        let source = Source::new(url, config.jwks_roots.as_deref()).map_err(refuse)?;
        let fetched = Self {
            url: url.to_owned(),
            source,
            refresh: Duration::from_secs(config.jwks_refresh_seconds.max(1)),
            keys: Arc::default(),
            last: Mutex::default(),
            fetches: Default::default(),
        };
        // Whoever starts the server may be an async task, which must not run another's.
        thread::scope(|scope| {
            // A panic in there has been reported by its own thread.
            let _ = scope.spawn(|| fetched.look()).join();
        });
        Ok(fetched)
    }

    pub(super) fn keys(&self) -> &Arc<KeySource> {
        &self.keys
    }

    /// How often they were fetched.
    pub(in crate::admission) fn fetches(&self) -> KeyFetches {
        let [succeeded, failed] = &self.fetches;
        KeyFetches {
            succeeded: succeeded.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
        }
    }

    fn fetch(&self) -> Result<(), String> {
        let limit = usize::try_from(JWKS_BYTE_SIZE).unwrap_or(usize::MAX);
        let keys = KeySet::from_json(&self.source.fetch(limit)?)?;
        self.keys.keys.store(Arc::new(keys));
        Ok(())
    }
}

impl Follow for FetchedKeys {
    fn look(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_missing_one = self.keys.is_missing_one.load(Ordering::Relaxed);
        if !is_due(*last, self.refresh, is_missing_one, Instant::now()) {
            return;
        }
        // What is missed from now on may have been added after the fetch.
        self.keys.is_missing_one.store(false, Ordering::Relaxed);
        let (url, fetched) = (&self.url, self.fetch());
        let went_well = fetched.is_ok();
        let [succeeded, failed] = &self.fetches;
        match fetched {
            Ok(()) => {
                succeeded.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(url, "key set fetched");
            }
            Err(error) => {
                failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    url,
                    error,
                    "key set not fetched: the keys of before stay in force"
                );
            }
        }
        *last = Some(Attempt {
            at: Instant::now(),
            went_well,
        });
    }
}

/// Whether the keys should be fetched now.
fn is_due(last: Option<Attempt>, refresh: Duration, is_missing_one: bool, now: Instant) -> bool {
    let Some(last) = last else {
        return true;
    };
    let gap = match last.went_well && !is_missing_one {
        true => refresh,
        false => refresh.min(LEAST_GAP),
    };
    now.saturating_duration_since(last.at) >= gap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_when_they_are_old_or_one_is_missing_but_not_more_often_than_that() {
        let start = Instant::now();
        let refresh = Duration::from_secs(300);
        assert!(is_due(None, refresh, false, start));
        for (went_well, is_missing_one, seconds, due) in [
            (true, false, 299, false),
            (true, false, 300, true),
            (true, true, 9, false),
            (true, true, 10, true),
            (false, false, 9, false),
            (false, false, 10, true),
        ] {
            let last = Some(Attempt {
                at: start,
                went_well,
            });
            let now = start + Duration::from_secs(seconds);
            let is_due = is_due(last, refresh, is_missing_one, now);
            assert_eq!(is_due, due, "{went_well} {is_missing_one} {seconds}");
        }
        let last = Some(Attempt {
            at: start,
            went_well: true,
        });
        let second = Duration::from_secs(1);
        assert!(is_due(last, second, true, start + second));
    }
}
