//! People sign in (OpenID Connect Core 1.0, authorization code flow with PKCE): from a page without
//! an identity to the issuer, and back with a session.

pub mod attempt; //    one sign-in on its way: state, nonce, verifier
pub mod client; //     the questions to the issuer's endpoints
pub mod failure; //    why a sign-in comes to nothing
pub mod id_token; //   the ID token, and the claims of a person
pub mod navigation; // which requests a person makes by going to a page
pub mod page; //       where a person goes on to after a sign-in
pub mod provider; //   what an OpenID provider says, and the answers of its endpoints
pub mod site; //       one server as browsers see it: its URL, its cookies
