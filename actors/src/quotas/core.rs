//! How a quota is divided among nodes, and what they tell each other of it. Pure.

use std::{collections::HashMap, time::Duration};

use claviger_crypto::digest::{self, MacKey};

/// What a request costs where a node has the whole of a quota.
pub(super) const WHOLE: u32 = 16;
/// Part of a quota that is divided evenly, whoever asks where: so much of its even part is left to a node of which nothing is known yet.
const EVEN: f64 = 0.1;
/// What is asked for less often than this part of an even part is not told of.
const QUIET: u64 = 8;
/// Seconds of which the frequency is taken, at most.
const MEMORY_MAX: u64 = 60;
/// A request, as the frequency counts it, so that little of it may be forgotten at a time.
const ONE: u32 = 256;
/// Most that a node tells the others at a time.
pub(super) const TOLD_MAX: usize = 1_000;
const MAC: usize = 32;
const ENTRY: usize = 20;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Requests of a principal.
    Principal,
    /// Requests for a key.
    Key,
    /// Requests from an address.
    Address,
    /// Failed attempts from an address.
    Failure,
    /// Refreshes of a family of tokens, trials of the password from an address.
    Grant,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] = [Self::Principal, Self::Key, Self::Address, Self::Failure, Self::Grant];

    /// Its name, in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Key => "key",
            Self::Address => "address",
            Self::Failure => "failures",
            Self::Grant => "grants",
        }
    }
}

/// So many requests within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// At once, and within the time: 1 to 1,000,000.
    pub count: u32,
    /// At least a second.
    pub window: Duration,
}

/// Where somebody stands with a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of what.
    pub class: Class,
    /// The quota of the whole deployment.
    pub quota: Quota,
    /// Requests that this node would let through now.
    pub remaining: u32,
    /// Until nothing of it is used.
    pub reset: Duration,
    /// It is used up: until when another request is of no use.
    pub wait: Option<Duration>,
}

impl Quota {
    /// All of it in units of cost.
    pub(super) fn capacity(self) -> u32 {
        self.count.clamp(1, 1_000_000) * WHOLE
    }

    /// Seconds of which the frequency is taken.
    fn memory(self) -> u64 {
        self.window.as_secs().clamp(2, MEMORY_MAX)
    }

    /// How often somebody has asked of late, after another second with so many requests.
    pub(super) fn faded(self, frequency: u32, asked: u32) -> u32 {
        let forgotten = u64::from(frequency).div_ceil(self.memory());
        let left = frequency.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        left.saturating_add(asked.saturating_mul(ONE))
    }

    /// It is asked for so often here that the other nodes are to know.
    pub(super) fn is_notable(self, frequency: u32, nodes: u32) -> bool {
        let all = u64::from(self.count) * u64::from(ONE) * self.memory() / self.window.as_secs().max(1);
        frequency > 0 && u64::from(frequency) * QUIET * u64::from(nodes) >= all
    }

    /// What a request costs at a node, by how often it is asked for there and at the others. A node never has less than one request.
    pub(super) fn cost(self, own: u32, others: u64, nodes: u32) -> u32 {
        if others == 0 {
            return WHOLE;
        }
        let asked = f64::from(own) / (f64::from(own) + others as f64);
        let part = (1.0 - EVEN) * asked + EVEN / f64::from(nodes.max(1));
        self.affordable((f64::from(WHOLE) / part).round() as u32)
    }

    /// The same, where nothing is known of the others but how many there are.
    pub(super) fn even_cost(self, nodes: u32) -> u32 {
        self.affordable(WHOLE.saturating_mul(nodes.max(1)))
    }

    fn affordable(self, cost: u32) -> u32 {
        cost.clamp(WHOLE, self.capacity())
    }
}

/// What a node asks for under a name that only those know who have the secret.
pub(super) type Name = [u8; 16];

/// The name.
pub(super) fn name(secret: &MacKey, class: Class, who: u128) -> Name {
    let mac = secret.mac(&[b"quota\0", class.as_str().as_bytes(), &[0], &who.to_be_bytes()]);
    let mut name = Name::default();
    name.iter_mut().zip(mac).for_each(|(to, from)| *to = from);
    name
}

/// What a start of a node tells the others: what it asks for most.
pub(super) fn told(secret: &MacKey, boot: &str, mut asked: Vec<(Name, u32)>) -> Vec<u8> {
    asked.sort_unstable_by_key(|(_, frequency)| std::cmp::Reverse(*frequency));
    asked.truncate(TOLD_MAX);
    let mut text = Vec::with_capacity(MAC + asked.len() * ENTRY);
    for (name, frequency) in &asked {
        text.extend_from_slice(name);
        text.extend_from_slice(&frequency.to_be_bytes());
    }
    let mut all = mac(secret, boot, &text).to_vec();
    all.append(&mut text);
    all
}

/// Adds up what another start of a node has told. What it has not told itself is not believed.
pub(super) fn hear(secret: &MacKey, boot: &str, told: &[u8], sums: &mut HashMap<Name, u64>) -> bool {
    let Some((shown, text)) = told.split_at_checked(MAC) else { return false };
    if text.len() > TOLD_MAX * ENTRY || !digest::ct_eq(&mac(secret, boot, text), shown) {
        return false;
    }
    for entry in text.chunks_exact(ENTRY) {
        let Some((name, frequency)) = entry.split_first_chunk() else { continue };
        let frequency = frequency.try_into().map_or(0, u32::from_be_bytes);
        *sums.entry(*name).or_default() += u64::from(frequency);
    }
    true
}

fn mac(secret: &MacKey, boot: &str, text: &[u8]) -> [u8; 32] {
    secret.mac(&[b"quotas told\0", boot.as_bytes(), &[0], text])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Quota = Quota { count: 10, window: Duration::from_secs(1) };

    #[test]
    fn a_node_that_is_asked_alone_has_all_of_it() {
        assert_eq!(TEN.cost(0, 0, 3), WHOLE);
        assert_eq!(TEN.cost(u32::MAX, 0, 3), WHOLE);
        assert_eq!(TEN.even_cost(3), 3 * WHOLE);
        // A part of less than one request is one.
        assert_eq!(TEN.even_cost(1_000), TEN.capacity());
        assert_eq!(Quota { count: 1, ..TEN }.even_cost(2), WHOLE);
    }

    #[test]
    fn what_is_asked_for_steadily_is_told_of() {
        for (window, rate) in [(1, 10), (5, 2), (3_600, 100)] {
            let quota = Quota { count: rate * window, window: Duration::from_secs(window.into()) };
            let steady = |asked| (0..600).fold(0, |frequency, _| quota.faded(frequency, asked));
            assert!(quota.is_notable(steady(rate), 1), "{quota:?}");
            assert!(quota.is_notable(steady(rate.div_ceil(20)), 5), "{quota:?}");
            assert!(!quota.is_notable(steady(0), 5));
            let over = (0..1_200).fold(steady(rate), |frequency, _| quota.faded(frequency, 0));
            assert_eq!(over, 0, "it is forgotten");
        }
    }

    #[test]
    fn only_what_a_node_has_told_itself_is_believed() {
        let (ours, theirs) = (MacKey::new(b"ours"), MacKey::new(b"theirs"));
        let names = [1, 2].map(|who| name(&ours, Class::Key, who));
        assert_ne!(names[0], name(&ours, Class::Principal, 1));
        let told = |secret| told(secret, "boot", vec![(names[0], 7), (names[1], 9)]);
        let mut sums = HashMap::new();
        assert!(hear(&ours, "boot", &told(&ours), &mut sums));
        assert!(hear(&ours, "boot", &told(&ours), &mut sums));
        assert_eq!((sums.get(&names[0]), sums.get(&names[1])), (Some(&14), Some(&18)));
        for forged in [told(&theirs), Vec::new(), vec![0; 31], vec![0; 52]] {
            assert!(!hear(&ours, "boot", &forged, &mut sums));
        }
        assert!(!hear(&ours, "other", &told(&ours), &mut sums));
        let mut changed = told(&ours);
        *changed.last_mut().unwrap() ^= 1;
        assert!(!hear(&ours, "boot", &changed, &mut sums));
        let many = (0..2_000).map(|who| (name(&ours, Class::Key, who), who as u32)).collect();
        let told = super::told(&ours, "boot", many);
        assert_eq!(told.len(), MAC + TOLD_MAX * ENTRY);
        let mut sums = HashMap::new();
        assert!(hear(&ours, "boot", &told, &mut sums));
        assert!(sums.contains_key(&name(&ours, Class::Key, 1_999)) && sums.len() == TOLD_MAX);
    }

    proptest! {
        /// However it is asked for, the parts of all nodes come to the whole, but for rounding; and none is starved.
        #[test]
        fn parts_come_to_the_whole(asked in proptest::collection::vec(1..1_000_000_u32, 2..20)) {
            let quota = Quota { count: 1_000_000, window: Duration::from_secs(1) };
            let all: u64 = asked.iter().map(|asked| u64::from(*asked)).sum();
            let nodes = u32::try_from(asked.len()).unwrap();
            let part = |own: &u32| f64::from(WHOLE) / f64::from(quota.cost(*own, all - u64::from(*own), nodes));
            let parts: Vec<f64> = asked.iter().map(part).collect();
            let whole: f64 = parts.iter().sum();
            prop_assert!((0.95..1.05).contains(&whole), "{}", whole);
            prop_assert!(parts.iter().all(|part| *part >= 0.9 * EVEN / f64::from(nodes)));
        }
    }
}
