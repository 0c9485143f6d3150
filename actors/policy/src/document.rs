//! Policies as operators write them.

use std::str::FromStr as _;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use claviger_entity::PolicyName;
use miette::Diagnostic;
use serde_json::Value;

use crate::schema::fixed;

/// Longest text of one policy.
pub const TEXT_MAX_BYTES: usize = 64 << 10;
/// Deepest nesting of brackets. Cedar's parser takes milliseconds for each level of a text that it can't read.
const NESTING_MAX: usize = 24;
/// Most words and signs of one policy. Each is judged once for every kind of request, some eighty times, so that they bound the time.
const TOKENS_MAX: usize = 1_536;
/// Longest explanation.
const EXPLANATION_MAX_CHARS: usize = 512;

/// A policy that was read and fits the schema.
#[derive(Debug, Clone)]
pub struct PolicyDocument {
    pub(crate) statements: Vec<StatementText>,
    /// What is legal but hardly meant.
    pub warnings: Vec<String>,
}

/// One statement of a policy.
#[derive(Debug, Clone)]
pub(crate) struct StatementText {
    pub(crate) policy: Policy,
    /// A condition tells one principal from another.
    pub(crate) asks_who: bool,
}

/// Why a text is no policy. The sentences quote the policy, which is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than it may be.
    #[error("a policy has at most 65536 bytes, and 1536 words and signs; write it as several policies")]
    TooLong,
    /// Nested deeper than it may be.
    #[error("the policy is nested more than 24 brackets deep")]
    TooDeep,
    /// No statement at all.
    #[error("the policy holds no statement; write permit (…); or forbid (…);")]
    Empty,
    /// A template has no meaning here.
    #[error("the policy holds a template slot (?principal or ?resource); name the entity instead")]
    Template,
    /// Not Cedar.
    #[error("the policy is not valid Cedar: {0}")]
    Syntax(String),
    /// Cedar, but not about anything that exists here.
    #[error("the policy does not fit the schema: {0}")]
    Schema(String),
    /// The schema of this release is broken.
    #[error("policies can't be judged")]
    Broken,
}

impl PolicyDocument {
    /// Reads a text of one or more statements and holds it against the schema.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn parse(name: &PolicyName, text: &str) -> Result<Self, PolicyError> {
        let fixed = fixed().ok_or(PolicyError::Broken)?;
        if text.len() > TEXT_MAX_BYTES {
            return Err(PolicyError::TooLong);
        }
        let (nesting, tokens) = measure(text);
        if nesting > NESTING_MAX {
            return Err(PolicyError::TooDeep);
        }
        if tokens > TOKENS_MAX {
            return Err(PolicyError::TooLong);
        }
        let set =
            PolicySet::from_str(text).map_err(|errors| PolicyError::Syntax(explain(&errors, Some(text))))?;
        if set.templates().next().is_some() {
            return Err(PolicyError::Template);
        }
        if set.is_empty() {
            return Err(PolicyError::Empty);
        }
        let judged = Validator::new(fixed.schema.clone()).validate(&set, ValidationMode::Strict);
        if let Some(error) = judged.validation_errors().next() {
            return Err(PolicyError::Schema(explain(error, Some(text))));
        }
        let warnings = judged.validation_warnings().map(|warning| explain(warning, Some(text))).collect();
        let mut statements: Vec<&Policy> = set.policies().collect();
        // Cedar numbers statements in the order of the text.
        statements
            .sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok());
        let numbered = (1..).zip(statements);
        let statements = numbered.map(|(number, policy)| StatementText {
            asks_who: asks_who(policy),
            policy: policy.new_id(PolicyId::new(format!("{name}#{number}"))),
        });
        Ok(Self { statements: statements.collect(), warnings })
    }

    /// Takes rights away somewhere, so its loss would give them back.
    #[must_use]
    pub fn forbids(&self) -> bool {
        self.statements.iter().any(|statement| statement.policy.effect() == Effect::Forbid)
    }
}

/// A condition tells one principal from another. A text that can't be looked into counts as one that does.
pub(crate) fn asks_who(policy: &Policy) -> bool {
    fn names_principal(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(name, value)| match name.as_str() {
                "Var" => value == "principal",
                // `principal == resource` is true of everybody in the same way.
                "==" => !is_self(value) && names_principal(value),
                _ => names_principal(value),
            }),
            Value::Array(items) => items.iter().any(names_principal),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    fn is_self(sides: &Value) -> bool {
        let mut names =
            ["left", "right"].map(|side| sides.get(side).and_then(|side| side.get("Var")?.as_str()));
        names.sort_unstable();
        names == [Some("principal"), Some("resource")]
    }
    policy.to_json().map_or(true, |json| json.get("conditions").is_none_or(names_principal))
}

/// How deep brackets are nested and how many words and signs there are. Quotes and comments are no exception: whoever leaves one open
/// would have the parser read otherwise than this does.
fn measure(text: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut tokens, mut in_word) = (0_usize, 0, 0, false);
    for letter in text.chars() {
        let is_word = letter.is_alphanumeric() || letter == '_';
        tokens += usize::from(!(letter.is_whitespace() || is_word && in_word));
        in_word = is_word;
        match letter {
            '(' | '[' | '{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (deepest, tokens)
}

/// One sentence, with line and column where they are known.
fn explain(error: &dyn Diagnostic, text: Option<&str>) -> String {
    let mut sentence = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    if let (Some(text), Some(offset)) = (text, offset)
        && let Some(before) = text.get(..offset)
    {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        sentence.push_str(&format!(" (line {line}, column {column})"));
    }
    if sentence.chars().count() > EXPLANATION_MAX_CHARS {
        sentence = sentence.chars().take(EXPLANATION_MAX_CHARS).chain(['…']).collect();
    }
    sentence
}
