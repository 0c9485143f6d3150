//! Ways to Redis: one server or whichever Sentinel names, over TLS or plain, and never Redis Cluster.

use std::time::Duration;

use deadpool::{
    Runtime,
    managed::{self, Metrics, PoolConfig, PoolError, RecycleResult},
};
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisError, RedisResult,
    TlsCertificates, TlsMode,
    aio::MultiplexedConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::sync::Mutex;

/// Connections: one reads, the others write.
const CONNECTIONS: usize = 4;
/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where Redis is.
#[derive(Clone, Copy)]
pub enum RedisPlace<'a> {
    /// One server.
    Server(&'a str),
    /// Sentinels that know the master of this name; the URLs carry what they need.
    Sentinels {
        /// `redis://…` of each.
        urls: &'a [String],
        /// Name of the master.
        master: &'a str,
        /// Password of the master.
        password: Option<&'a str>,
        /// Number of the database.
        database: i64,
        /// Speak TLS with all of them.
        tls: bool,
    },
}

/// Why Redis did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum HintError {
    /// No connection.
    #[error("Redis is not reached: {0}")]
    Unreachable(String),
    /// It refused.
    #[error("Redis refused: {0}")]
    Refused(#[from] RedisError),
    /// It spreads its keys, so that one read can't follow two streams.
    #[error("the server runs in cluster mode, which is of no use here; use one server or Sentinel")]
    Cluster,
    /// The settings.
    #[error("the settings of Redis are not usable")]
    Settings,
}

/// Connections to Redis, made when they are needed. Cheap to clone.
#[derive(Clone)]
pub struct RedisLink(managed::Pool<Source>);

/// Where connections come from.
pub(crate) enum Source {
    Server(Box<Client>),
    Sentinels(Box<Mutex<SentinelClient>>),
}

impl RedisLink {
    /// Prepares connections; none is made yet, since a node starts without Redis too. With `authorities` (PEM), servers that speak TLS are
    /// believed on the word of those alone; without, of those that the machine knows.
    ///
    /// # Errors
    /// [`HintError::Settings`].
    pub fn new(place: RedisPlace<'_>, authorities: Option<&[u8]>) -> Result<Self, HintError> {
        let source = Source::new(place, authorities).map_err(|_| HintError::Settings)?;
        let mut size = PoolConfig::new(CONNECTIONS);
        size.timeouts.wait = Some(PATIENCE);
        size.timeouts.create = Some(PATIENCE);
        size.timeouts.recycle = Some(PATIENCE);
        let pool = managed::Pool::builder(source).config(size).runtime(Runtime::Tokio1).build();
        pool.map(Self).map_err(|_| HintError::Settings)
    }

    /// Asks for a sign of life, for a bounded time, on a connection that nobody else will use.
    ///
    /// # Errors
    /// See [`HintError`].
    pub async fn look(&self) -> Result<(), HintError> {
        use managed::Manager as _;
        let made = tokio::time::timeout(PATIENCE, self.0.manager().create()).await;
        made.map_err(|_| HintError::Unreachable("it does not answer in time".to_owned()))?.map(drop)
    }

    pub(crate) async fn connection(&self) -> Result<managed::Object<Source>, HintError> {
        self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => HintError::Unreachable(error.to_string()),
        })
    }
}

impl Source {
    fn new(place: RedisPlace<'_>, authorities: Option<&[u8]>) -> RedisResult<Self> {
        let trusted =
            || authorities.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.to_vec()) });
        match place {
            RedisPlace::Server(url) => {
                let url = url.into_connection_info()?;
                let tls = matches!(url.addr(), ConnectionAddr::TcpTls { .. });
                let client = match trusted().filter(|_| tls) {
                    Some(trusted) => Client::build_with_tls(url, trusted)?,
                    None => Client::open(url)?,
                };
                Ok(Self::Server(Box::new(client)))
            }
            RedisPlace::Sentinels { urls, master, password, database, tls } => {
                let sentinels: Vec<ConnectionAddr> = urls
                    .iter()
                    .map(|url| Ok(url.as_str().into_connection_info()?.addr().clone()))
                    .collect::<RedisResult<_>>()?;
                let mut builder = SentinelClientBuilder::new(sentinels, master, SentinelServerType::Master)?
                    .set_client_to_redis_db(database);
                if let Some(password) = password {
                    builder = builder.set_client_to_redis_password(password);
                }
                if tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                    if let Some(trusted) = trusted() {
                        builder = builder
                            .set_client_to_redis_certificates(trusted.clone())
                            .set_client_to_sentinel_certificates(trusted);
                    }
                }
                Ok(Self::Sentinels(Box::new(Mutex::new(builder.build()?))))
            }
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        match self {
            Self::Server(client) => {
                client.get_multiplexed_async_connection_with_config(&AsyncConnectionConfig::new()).await
            }
            Self::Sentinels(client) => client.lock().await.get_async_connection().await,
        }
    }
}

impl managed::Manager for Source {
    type Type = MultiplexedConnection;
    type Error = HintError;

    /// The mode is asked of every connection, since a server may have been replaced; one that keeps it to itself is taken at its word later.
    async fn create(&self) -> Result<MultiplexedConnection, HintError> {
        let unreachable = |error: RedisError| HintError::Unreachable(error.to_string());
        let mut connection = self.connect().await.map_err(unreachable)?;
        match redis::cmd("INFO").arg("cluster").query_async::<String>(&mut connection).await {
            Ok(text) if text.contains("cluster_enabled:1") => Err(HintError::Cluster),
            Err(error) if error.is_io_error() => Err(unreachable(error)),
            Ok(_) | Err(_) => Ok(connection),
        }
    }

    async fn recycle(&self, connection: &mut MultiplexedConnection, _: &Metrics) -> RecycleResult<HintError> {
        let answer: RedisResult<String> = redis::cmd("PING").query_async(connection).await;
        answer.map(drop).map_err(|error| HintError::from(error).into())
    }
}
