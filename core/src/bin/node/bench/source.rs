//! Keys, values and choices of one client, drawn from the seed of the run.

use super::settings::Settings;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// More than the largest value, so that values start at many places.
const POOL_SLACK: usize = 64 << 10;
/// The largest value that a load asks for by itself.
const LARGEST_OWN_VALUE: usize = 4096;

/// One client's source. Values are slices of one pool of random, incompressible bytes that all clients share: making
/// fresh bytes for each would be measured as the server's time.
pub(super) struct Source {
    rng: StdRng,
    pool: Bytes,
    prefix: String,
    key_size: usize,
    value_size: usize,
    key_space: u64,
}

impl Source {
    /// A source for each of `clients`; equal settings give equal sources.
    pub(super) fn many(settings: &Settings, clients: usize) -> Vec<Source> {
        let mut pool = vec![0; settings.value_size.max(LARGEST_OWN_VALUE) + POOL_SLACK];
        StdRng::seed_from_u64(settings.seed).fill_bytes(&mut pool);
        let pool = Bytes::from(pool);
        let source = |client: u64| Source {
            // Spread the seeds far apart, so that client 2 of seed 1 is not client 1 of seed 2.
            rng: StdRng::seed_from_u64(settings.seed.wrapping_mul(1_000_003) ^ (client + 1)),
            pool: pool.clone(),
            prefix: settings.prefix.clone(),
            key_size: settings.key_size,
            value_size: settings.value_size,
            key_space: settings.key_space,
        };
        (0..clients as u64).map(source).collect()
    }

    /// A source for a load that writes from one place.
    pub(super) fn single(settings: &Settings) -> Source {
        Source::many(settings, 1).remove(0)
    }

    pub(super) fn key(&self, number: u64) -> Bytes {
        padded(format!("{}{number:012}", self.prefix), self.key_size)
    }

    pub(super) fn random_key(&mut self) -> Bytes {
        let number = self.below(self.key_space);
        self.key(number)
    }

    pub(super) fn value(&mut self) -> Bytes {
        self.value_of(self.value_size)
    }

    pub(super) fn value_of(&mut self, size: usize) -> Bytes {
        let start = self.rng.random_range(0..=self.pool.len() - size);
        self.pool.slice(start..start + size)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.rng.random_range(0..limit)
    }
}

/// The key, made up to `size` bytes; longer ones stay as they are.
pub(super) fn padded(key: String, size: usize) -> Bytes {
    let mut key = key.into_bytes();
    key.resize(key.len().max(size), b'x');
    key.into()
}

/// The number at the end of a key that [`Source::key`] made.
pub(super) fn number_in(key: &[u8], prefix: &str) -> Option<usize> {
    let digits = key.get(prefix.len()..prefix.len() + 12)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The first key after all that start with `prefix`.
pub(super) fn end_of(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    let last = end.last_mut().expect("a checked prefix is not empty");
    // The prefix is ASCII, so the byte has a successor.
    *last += 1;
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings(seed: u64) -> Settings {
        let mut settings = Settings::usual(Vec::new(), Duration::from_secs(1));
        settings.seed = seed;
        settings
    }

    #[test]
    fn equal_seeds_draw_alike_and_others_do_not() {
        let draw = |seed, client| {
            let mut source = Source::many(&settings(seed), 2).remove(client);
            (source.random_key(), source.value())
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn keys_are_padded_and_read_back() {
        let mut settings = settings(1);
        settings.key_size = 40;
        let key = Source::single(&settings).key(77);
        assert_eq!(key.len(), 40);
        assert_eq!(number_in(&key, &settings.prefix), Some(77));
        assert!(key < end_of(&settings.prefix));
        assert_eq!(number_in(b"/other", &settings.prefix), None);
    }
}
