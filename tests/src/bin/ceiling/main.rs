//! The ceiling of `make bench`: what a handler could answer at most on this machine.
//!
//! It parses the same JSON, does the same cryptography with the same crate and writes the same JSON as Claviger, on as many workers.
//! It asks nobody who they are, records nothing, has one key of each type and no middleware. It takes the number of workers and a file
//! with the key set to publish, says where it listens as Claviger does, and ends with its standard input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a command for developers: what can't go on stops"
)]

mod crypto;
mod keys;
mod stores;
mod tokens;

use std::{io::Read as _, thread};

use actix_web::{
    App, HttpResponse, HttpServer,
    web::{self, Bytes, Data},
};
use serde::{Serialize, de::DeserializeOwned};

use keys::Keys;

/// What a body may be, as in Claviger.
const BODY_LIMIT: usize = 2 << 20;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let workers = arguments.next().expect("the number of workers").parse().expect("a number");
    let jwks = std::fs::read(arguments.next().expect("the file with the key set"))?;
    let database = Data::new(stores::Rows::of_environment().await);
    let (keys, jwks) = (Data::new(Keys::generate()), Data::new(Bytes::from(jwks)));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(keys.clone())
            .app_data(jwks.clone())
            .app_data(database.clone())
            .app_data(web::PayloadConfig::new(BODY_LIMIT))
            .route("/v1/keys/bench-aes/encrypt", web::post().to(crypto::encrypt))
            .route("/v1/keys/bench-aes/decrypt", web::post().to(crypto::decrypt))
            .route("/v1/keys/bench-es256/sign", web::post().to(crypto::sign))
            .route("/v1/keys/bench-eddsa/sign", web::post().to(crypto::sign))
            .route("/v1/keys/bench-rs256/sign", web::post().to(crypto::sign))
            .route("/v1/tokens", web::post().to(tokens::issue))
            .route("/v1/tokens/verify", web::post().to(tokens::verify))
            .route("/v1/secrets/bench/s", web::get().to(stores::show))
            .route("/.well-known/jwks.json", web::get().to(published))
            // Last, and the only one that is matched by a pattern.
            .route("/v1/keys/{name}/versions/1/public.pem", web::get().to(crypto::public))
    });
    let server = server.workers(workers).disable_signals().bind("127.0.0.1:0")?;
    let address = server.addrs().first().copied().expect("it listens somewhere");
    println!("{}", serde_json::json!({ "event": "listening", "address": address.to_string() }));
    thread::spawn(|| {
        // Ends when whoever started this does, however that happens.
        let _ended = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    server.run().await
}

async fn published(jwks: Data<Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(Bytes::clone(&jwks))
}

/// Parses a body, works on it and answers.
fn answer<I: DeserializeOwned, O: Serialize>(
    body: &Bytes,
    work: impl FnOnce(I) -> Option<O>,
) -> HttpResponse {
    let answered = serde_json::from_slice(body).ok().and_then(work);
    answered.map_or_else(|| HttpResponse::BadRequest().finish(), |answer| HttpResponse::Ok().json(answer))
}
