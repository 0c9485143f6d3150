//! What keys are used for, by whom and from where, as far as it takes to notice what is unusual. Everything is bounded, whatever comes; what is
//! remembered are numbers that stand for names. A node learns by itself, and forgets all of it when it ends.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use uuid::Uuid;

use super::{core::Figure, rule::Rule};

/// Keys that are remembered; the others are not watched.
const KEYS_MAX: usize = 1_000;
/// Principals and networks of a key. One that has more is used by anybody, and a new one is no news.
const KNOWN_MAX: usize = 64;
/// Strangers of a key that are remembered.
const STRANGERS_MAX: usize = 16;
/// Fewer uses within a window are no storm, however rare they are else.
const LEAST: u64 = 1_000;
/// A window weighs so much among those before.
const WEIGHT: u64 = 8;

/// A use of a key, as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct KeyUse<'a> {
    /// The key.
    pub key: &'a str,
    /// Who.
    pub principal: Uuid,
    /// From where.
    pub address: Option<IpAddr>,
    /// So many at once.
    pub items: u64,
    /// Something was decrypted.
    pub decrypts: bool,
}

/// What is usual.
pub(super) struct Habits {
    window: Duration,
    learning: Duration,
    keys: Mutex<HashMap<String, Habit>>,
}

struct Habit {
    since: Duration,
    principals: Known,
    networks: Known,
    uses: Rate,
    decrypts: Rate,
    /// When, and who or from where.
    strangers: VecDeque<(Duration, String)>,
}

/// Some of many.
#[derive(Default)]
struct Known(Vec<u64>);

impl Known {
    /// It is a new one. Of too many nobody says.
    fn is_new(&mut self, one: u64) -> bool {
        if self.0.len() >= KNOWN_MAX || self.0.contains(&one) {
            return false;
        }
        self.0.push(one);
        true
    }
}

/// How often within a window, and how often in those before.
struct Rate {
    from: Duration,
    count: u64,
    /// Times [`WEIGHT`].
    usual: u64,
    /// What the last window came to, in percent, unless somebody has looked since it ended.
    unseen: u64,
}

impl Rate {
    const fn new(from: Duration) -> Self {
        Self { from, count: 0, usual: 0, unseen: 0 }
    }

    fn turn(&mut self, now: Duration, window: Duration) {
        let mut turns = 0;
        while now.saturating_sub(self.from) >= window && turns < 64 {
            self.unseen = self.now();
            self.usual = (self.usual - self.usual / WEIGHT).saturating_add(self.count);
            (self.count, self.from, turns) = (0, self.from + window, turns + 1);
        }
        if now.saturating_sub(self.from) >= window {
            // It has slept for so long that nothing is usual any more.
            *self = Self::new(now);
        }
    }

    /// Of what is usual, in percent: now, or just before a window ended that nobody has looked at since. A storm shortly before an end is one.
    fn percent(&mut self) -> u64 {
        std::mem::take(&mut self.unseen).max(self.now())
    }

    const fn now(&self) -> u64 {
        let usual = self.usual / WEIGHT;
        let least = LEAST / 10;
        self.count.saturating_mul(100) / if usual > least { usual } else { least }
    }
}

impl Habits {
    /// Knows nothing yet. A key that was used here for `learning` is known.
    #[must_use]
    pub(super) fn new(window: Duration, learning: Duration) -> Self {
        Self { window, learning, keys: Mutex::default() }
    }

    /// Takes down a use. Whoever comes while another is taken down is left out: nobody waits here.
    pub(super) fn note(&self, used: KeyUse<'_>, now: Duration) {
        let Ok(mut keys) = self.keys.try_lock() else { return };
        if !keys.contains_key(used.key) {
            if keys.len() >= KEYS_MAX {
                return;
            }
            let habit = Habit {
                since: now,
                principals: Known::default(),
                networks: Known::default(),
                uses: Rate::new(now),
                decrypts: Rate::new(now),
                strangers: VecDeque::new(),
            };
            keys.insert(used.key.to_owned(), habit);
        }
        let Some(habit) = keys.get_mut(used.key) else { return };
        let is_known = now.saturating_sub(habit.since) >= self.learning;
        habit.uses.turn(now, self.window);
        habit.uses.count = habit.uses.count.saturating_add(used.items);
        if used.decrypts {
            habit.decrypts.turn(now, self.window);
            habit.decrypts.count = habit.decrypts.count.saturating_add(used.items);
        }
        let (high, low) = used.principal.as_u64_pair();
        if habit.principals.is_new(high ^ low.rotate_left(1)) && is_known {
            habit.stranger(now, format!("the principal {}", used.principal.simple()));
        }
        if let Some(address) = used.address {
            let (network, text) = network(address);
            if habit.networks.is_new(network) && is_known {
                habit.stranger(now, format!("the network {text}"));
            }
        }
    }

    /// What can be said of the keys that are known.
    pub(super) fn figures(&self, now: Duration) -> Vec<Figure> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut figures = Vec::new();
        for (key, habit) in keys.iter_mut() {
            if now.saturating_sub(habit.since) < self.learning {
                continue;
            }
            habit.uses.turn(now, self.window);
            habit.decrypts.turn(now, self.window);
            habit.strangers.retain(|(at, _)| now.saturating_sub(*at) < self.window);
            let mut add = |rule, value, summary| {
                figures.push(Figure { rule, subject: key.clone(), value, summary });
            };
            let who: Vec<&str> = habit.strangers.iter().map(|(_, who)| who.as_str()).collect();
            if !who.is_empty() {
                let summary = format!("{key} is used by {}, for the first time here", who.join(", "));
                add(Rule::UnusualUse, who.len() as u64, summary);
            }
            let percent = habit.uses.percent();
            let summary = format!("{key} is used {percent} % as often as usual");
            add(Rule::UnusualRate, percent, summary);
            let percent = habit.decrypts.percent();
            let summary = format!("{key} decrypts {percent} % as often as usual");
            add(Rule::DecryptStorm, percent, summary);
        }
        figures
    }

    /// Forgets keys that are gone.
    pub(super) fn prune(&self, is_key: impl Fn(&str) -> bool) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= KEYS_MAX {
            keys.retain(|key, _| is_key(key));
        }
    }
}

impl Habit {
    fn stranger(&mut self, now: Duration, who: String) {
        if self.strangers.len() >= STRANGERS_MAX {
            self.strangers.pop_front();
        }
        self.strangers.push_back((now, who));
    }
}

/// The network of an address: /24 of IPv4, /48 of IPv6.
fn network(address: IpAddr) -> (u64, String) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            (u64::from_be_bytes([4, 0, 0, 0, 0, a, b, c]), format!("{a}.{b}.{c}.0/24"))
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            let number = u64::from(a) << 32 | u64::from(b) << 16 | u64::from(c);
            (6 << 56 | number, format!("{a:x}:{b:x}:{c:x}::/48"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(300);
    const DAY: Duration = Duration::from_secs(86_400);

    fn used<'a>(key: &'a str, principal: u128, address: &str, items: u64) -> KeyUse<'a> {
        let address = Some(address.parse().unwrap());
        KeyUse { key, principal: Uuid::from_u128(principal), address, items, decrypts: true }
    }

    fn value(habits: &Habits, rule: Rule, now: Duration) -> Option<u64> {
        habits.figures(now).into_iter().find(|figure| figure.rule == rule).map(|figure| figure.value)
    }

    #[test]
    fn strangers_are_told_once_a_key_is_known() {
        let habits = Habits::new(WINDOW, DAY);
        let at = |seconds| DAY + Duration::from_secs(seconds);
        habits.note(used("k", 1, "192.0.2.1", 1), Duration::ZERO);
        habits.note(used("k", 2, "192.0.2.9", 1), Duration::from_secs(5));
        assert!(habits.figures(Duration::from_secs(6)).is_empty());
        habits.note(used("k", 1, "192.0.2.200", 1), at(0));
        assert_eq!(value(&habits, Rule::UnusualUse, at(0)), None);
        habits.note(used("k", 3, "198.51.100.1", 1), at(1));
        assert_eq!(value(&habits, Rule::UnusualUse, at(2)), Some(2));
        let summary = &habits.figures(at(2))[0].summary;
        assert!(summary.contains("198.51.100.0/24") && summary.contains("00003"), "{summary}");
        // They are known from then on, and no news after the window.
        habits.note(used("k", 3, "198.51.100.1", 1), at(3));
        assert_eq!(value(&habits, Rule::UnusualUse, at(4)), Some(2));
        assert_eq!(value(&habits, Rule::UnusualUse, at(302)), None);
        habits.note(used("k", 3, "::ffff:198.51.100.7", 1), at(303));
        habits.note(used("k", 3, "2001:db8::1", 1), at(303));
        assert_eq!(value(&habits, Rule::UnusualUse, at(303)), Some(1));
    }

    #[test]
    fn a_storm_is_ten_times_what_is_usual_and_not_a_few() {
        let habits = Habits::new(WINDOW, DAY);
        let mut now = Duration::ZERO;
        for _ in 0..400 {
            habits.note(used("busy", 1, "192.0.2.1", 500), now);
            habits.note(used("rare", 1, "192.0.2.1", 1), now);
            now += WINDOW;
        }
        let percent = |key: &str, rule, now| {
            habits
                .figures(now)
                .into_iter()
                .find(|figure| figure.rule == rule && figure.subject == key)
                .unwrap()
                .value
        };
        habits.note(used("busy", 1, "192.0.2.1", 500), now);
        let usual = percent("busy", Rule::UnusualRate, now);
        assert!((95..=105).contains(&usual), "{usual}");
        habits.note(used("busy", 1, "192.0.2.1", 5_000), now);
        assert!(percent("busy", Rule::DecryptStorm, now) > 1_000);
        // Ten times of next to nothing is nothing.
        habits.note(used("rare", 1, "192.0.2.1", 900), now);
        assert!(percent("rare", Rule::UnusualRate, now) <= 1_000);
        habits.note(used("rare", 1, "192.0.2.1", 200), now);
        assert!(percent("rare", Rule::UnusualRate, now) > 1_000);
        // The end of a window hides nothing of what came shortly before it; whoever looks again sees that it is over.
        habits.note(used("rare", 1, "192.0.2.1", 9_000), now);
        now += WINDOW;
        assert!(percent("rare", Rule::UnusualRate, now) > 1_000);
        assert_eq!(percent("rare", Rule::UnusualRate, now), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let habits = Habits::new(WINDOW, Duration::ZERO);
        for number in 0..5_000_u128 {
            let key = format!("k{}", number % 2_000);
            let address = format!("10.{}.{}.1", number / 250, number % 250);
            habits.note(used(&key, number, &address, 1), Duration::from_secs(1));
            habits.note(used("k0", number, &address, u64::MAX), Duration::from_secs(1));
        }
        {
            let keys = habits.keys.lock().unwrap();
            let habit = &keys["k0"];
            assert_eq!(
                (keys.len(), habit.principals.0.len(), habit.networks.0.len()),
                (KEYS_MAX, KNOWN_MAX, KNOWN_MAX)
            );
            assert_eq!(habit.strangers.len(), STRANGERS_MAX);
        }
        // After a year of silence.
        assert!(habits.figures(Duration::from_secs(31_536_000)).len() >= KEYS_MAX);
        habits.prune(|key| key == "k0");
        assert_eq!(habits.keys.lock().unwrap().len(), 1);
    }
}
