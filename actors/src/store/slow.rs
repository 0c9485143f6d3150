//! Statements that take long, named in the log by what they do and to which table; never their text or values.

use std::time::{Duration, Instant};

use sea_orm::{DatabaseTransaction, DbErr, metric::Info};

/// Statements that take longer are named.
const SLOW: Duration = Duration::from_millis(200);

/// Told of every statement with parameters.
pub(super) fn statement(info: &Info<'_>) {
    if info.elapsed > SLOW {
        warn(&name(&info.statement.sql), info.elapsed);
    }
}

/// Commits; that is no statement with parameters, and what waits for the disk.
pub(super) async fn commit(transaction: DatabaseTransaction) -> Result<(), DbErr> {
    let began = Instant::now();
    let done = transaction.commit().await;
    if began.elapsed() > SLOW {
        warn("commit", began.elapsed());
    }
    done
}

fn warn(statement: &str, took: Duration) {
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::warn!(statement, ms, "slow statement");
}

/// `select keys`, `update ring_meta`: the verb, and the first table.
fn name(sql: &str) -> String {
    let mut words = sql.split_ascii_whitespace().map(|word| word.trim_matches('"'));
    let verb = words.next().unwrap_or_default().to_ascii_lowercase();
    let mut table = if verb == "update" { words.next() } else { None };
    while table.is_none() {
        let Some(word) = words.next() else { break };
        if ["from", "into"].iter().any(|before| word.eq_ignore_ascii_case(before)) {
            table = words.next();
            break;
        }
    }
    let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match table.filter(is_name) {
        Some(table) => format!("{verb} {table}"),
        None => verb,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_named_by_verb_and_table() {
        for (sql, expected) in [
            (
                r#"SELECT "ring_meta"."id" FROM "ring_meta" WHERE "id" = $1 LIMIT $2 FOR UPDATE"#,
                "select ring_meta",
            ),
            (r#"INSERT INTO "key_versions" ("kid", "sealed") VALUES ($1, $2)"#, "insert key_versions"),
            (r#"UPDATE "keys" SET "name" = $1"#, "update keys"),
            (r#"DELETE FROM "nodes" WHERE "boot_id" = $1"#, "delete nodes"),
            ("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", "select"),
            ("", ""),
        ] {
            assert_eq!(name(sql), expected);
        }
    }
}
