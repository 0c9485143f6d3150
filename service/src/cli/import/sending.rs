//! What goes to the server: compared first, then written on the condition that it still is as it was.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::{
    Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use serde_json::{Map, Value, json};

use super::rows::Entry;
use crate::cli::{body::put, client::Client, failure::Failure};

/// Bytes of one body, unless a single value has more; a server takes 2 MiB unless it is set to less.
const BODY: usize = 1 << 20;

/// What came, or would come, of a row.
pub(super) enum Outcome {
    /// There was nothing.
    Created,
    /// There was something else.
    Changed,
    /// It is there.
    Unchanged,
    /// There is something else, and it stays.
    Conflict,
    /// It can't be taken in: code and sentence, never a value.
    Error(String, String),
}

/// Sends entries.
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) apply: bool,
    pub(super) overwrite: bool,
}

/// An item of a batch: the row, how a read names it, and what is to be there.
struct Item {
    row: String,
    name: Value,
    wanted: Map<String, Value>,
}

/// What is to be done about an item.
enum Verdict {
    Done(Outcome),
    /// Write, on this condition.
    Write(&'static str, String, Outcome),
}

impl Sender<'_> {
    /// Takes entries in, or finds out what would come of it.
    ///
    /// # Errors
    /// The server refuses as a whole, or does not answer.
    pub(super) async fn send(
        &self,
        entries: Vec<(String, Entry)>,
    ) -> Result<Vec<(String, Outcome)>, Failure> {
        let (mut secrets, mut tokens) = (BTreeMap::<String, Vec<Item>>::new(), Vec::new());
        let mut outcomes = Vec::new();
        for (row, entry) in entries {
            match entry {
                Entry::Secret { owner, name, value, description } => {
                    let mut wanted = Map::new();
                    put(&mut wanted, "value", Some(value.as_str()));
                    wanted.insert("description".to_owned(), description.into());
                    secrets.entry(owner).or_default().push(Item { row, name: name.into(), wanted });
                }
                Entry::AuthTokens {
                    user,
                    provider,
                    access_token,
                    refresh_token,
                    access_expires_at,
                    refresh_expires_at,
                } => {
                    let mut wanted = Map::new();
                    put(&mut wanted, "access_token", Some(access_token.as_str()));
                    let refresh: Value = refresh_token.as_ref().map(|token| token.as_str()).into();
                    wanted.insert("refresh_token".to_owned(), refresh);
                    wanted.insert("access_expires_at".to_owned(), json!(access_expires_at));
                    wanted.insert("refresh_expires_at".to_owned(), json!(refresh_expires_at));
                    tokens.push(Item { row, name: json!({ "user": user, "provider": provider }), wanted });
                }
                Entry::OfflineToken { user, token } => {
                    let outcome = self.offline_token(&user, token.as_str()).await?;
                    outcomes.push((row, outcome));
                }
            }
        }
        for (owner, items) in secrets {
            let path = format!("{owner}:batch");
            let (good, bad) = judged(items, |item| is_owner(&owner) && is_name(item.name.as_str()));
            outcomes.extend(bad);
            outcomes.extend(self.batch(&["v1", "secrets", &path], good).await?);
        }
        let fits = |item: &Item| {
            let member = |name: &str| item.name.get(name).and_then(Value::as_str);
            member("user").is_some_and(is_owner) && is_name(member("provider"))
        };
        let (good, bad) = judged(tokens, fits);
        outcomes.extend(bad);
        outcomes.extend(self.batch(&["v1", "auth-tokens:batch"], good).await?);
        Ok(outcomes)
    }

    async fn batch(&self, path: &[&str], items: Vec<Item>) -> Result<Vec<(String, Outcome)>, Failure> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&Value> = items.iter().map(|item| &item.name).collect();
        let found = self.client.post(path, &json!({ "get": names })).await?;
        let found = listed(&found, "get", items.len())?;
        let (mut outcomes, mut writes, mut expected) = (Vec::new(), Vec::new(), Vec::new());
        for (item, found) in items.into_iter().zip(found) {
            match self.verdict(&item.wanted, found, found.get("etag").and_then(Value::as_str)) {
                Verdict::Done(outcome) => outcomes.push((item.row, outcome)),
                Verdict::Write(_, _, outcome) if !self.apply => outcomes.push((item.row, outcome)),
                Verdict::Write(condition, tag, outcome) => {
                    writes.push(written(item.name, item.wanted, condition, tag));
                    expected.push((item.row, outcome));
                }
            }
        }
        let mut expected = expected.into_iter();
        for writes in portions(writes) {
            let count = writes.len();
            let answer = self.client.post(path, &json!({ "put": writes })).await?;
            for (item, (row, outcome)) in listed(&answer, "put", count)?.iter().zip(expected.by_ref()) {
                outcomes.push((row, problem(item).unwrap_or(outcome)));
            }
        }
        Ok(outcomes)
    }

    async fn offline_token(&self, user: &str, token: &str) -> Result<Outcome, Failure> {
        if !is_owner(user) {
            return Ok(not_valid());
        }
        let (path, wanted) = (["v1", "offline-tokens", user], json!({ "offline_token": token }));
        let wanted = wanted.as_object().cloned().unwrap_or_default();
        let (found, tag) = match self.client.exchange(Method::GET, &path, &[], (None, None)).await {
            Ok(found) => found,
            Err(Failure::Problem { code, detail }) if code == "not_found" => {
                (json!({ "error": { "code": code, "detail": detail } }), None)
            }
            Err(failure) => return Err(failure),
        };
        let (condition, tag, outcome) = match self.verdict(&wanted, &found, tag.as_deref()) {
            Verdict::Done(outcome) => return Ok(outcome),
            Verdict::Write(_, _, outcome) if !self.apply => return Ok(outcome),
            Verdict::Write(condition, tag, outcome) => (condition, tag, outcome),
        };
        let header = if condition == "if_match" { IF_MATCH } else { IF_NONE_MATCH };
        let body = Value::Object(wanted);
        match self.client.exchange(Method::PUT, &path, &[], (Some(&body), Some((header, &tag)))).await {
            Ok(_) => Ok(outcome),
            Err(Failure::Problem { code, detail }) => Ok(Outcome::Error(code, detail)),
            Err(failure) => Err(failure),
        }
    }

    /// Compares what is to be with what is.
    fn verdict(&self, wanted: &Map<String, Value>, found: &Value, tag: Option<&str>) -> Verdict {
        let is_missing = found.pointer("/error/code").and_then(Value::as_str) == Some("not_found");
        if is_missing {
            return Verdict::Write("if_none_match", "*".to_owned(), Outcome::Created);
        }
        if let Some(outcome) = problem(found) {
            return Verdict::Done(outcome);
        }
        let is_same = wanted.iter().all(|(name, value)| same(value, found.get(name).unwrap_or(&Value::Null)));
        match tag {
            _ if is_same => Verdict::Done(Outcome::Unchanged),
            Some(tag) if self.overwrite => Verdict::Write("if_match", tag.to_owned(), Outcome::Changed),
            Some(_) | None => Verdict::Done(Outcome::Conflict),
        }
    }
}

/// Writes in portions that a server takes as one body, in their order.
fn portions(writes: Vec<Value>) -> Vec<Vec<Value>> {
    let (mut portions, mut room) = (Vec::<Vec<Value>>::new(), 0);
    for write in writes {
        let length = write.to_string().len();
        match portions.last_mut() {
            Some(portion) if length <= room => portion.push(write),
            Some(_) | None => {
                portions.push(vec![write]);
                room = BODY;
            }
        }
        room = room.saturating_sub(length);
    }
    portions
}

/// Two values, or two spellings of one moment.
fn same(wanted: &Value, found: &Value) -> bool {
    let time = |value: &Value| value.as_str()?.parse::<DateTime<Utc>>().ok();
    wanted == found || time(wanted).is_some_and(|wanted| time(found) == Some(wanted))
}

fn written(name: Value, mut wanted: Map<String, Value>, condition: &str, tag: String) -> Value {
    if let Value::Object(name) = name {
        wanted.extend(name);
    } else {
        wanted.insert("name".to_owned(), name);
    }
    wanted.retain(|_, value| !value.is_null());
    wanted.insert(condition.to_owned(), tag.into());
    Value::Object(wanted)
}

/// The problem that the server has put in the place of a result.
fn problem(item: &Value) -> Option<Outcome> {
    let error = item.get("error")?;
    let member = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Outcome::Error(member("code"), member("detail")))
}

fn listed<'a>(answer: &'a Value, member: &str, count: usize) -> Result<&'a Vec<Value>, Failure> {
    let list = answer.get(member).and_then(Value::as_array).filter(|list| list.len() == count);
    list.ok_or_else(|| Failure::answer("unexpected_answer", "the answer has another number of items"))
}

fn not_valid() -> Outcome {
    Outcome::Error(
        "name_not_valid".to_owned(),
        "the user, name or provider is none here: see the rules in docs/stores.md".to_owned(),
    )
}

/// Those that the server would take as part of a batch, each once, and what is wrong with the others.
fn judged(items: Vec<Item>, fits: impl Fn(&Item) -> bool) -> (Vec<Item>, Vec<(String, Outcome)>) {
    let (mut good, mut bad): (Vec<Item>, Vec<(String, Outcome)>) = Default::default();
    for item in items {
        if !fits(&item) {
            bad.push((item.row, not_valid()));
        } else if good.iter().any(|before| before.name == item.name) {
            let detail = "another row has the same user and name".to_owned();
            bad.push((item.row, Outcome::Error("duplicate".to_owned(), detail)));
        } else {
            good.push(item);
        }
    }
    (good, bad)
}

fn is_owner(text: &str) -> bool {
    text.parse::<claviger_entity::Owner>().is_ok()
}

fn is_name(text: Option<&str>) -> bool {
    text.is_some_and(|text| text.parse::<claviger_entity::SecretName>().is_ok())
}
