mod json;
mod response;
mod smoke;
