# frozen_string_literal: true

# A stand-in of GitLab's web side: Puma, Rack and OmniAuth are real, and the strategy below checks what
# GitLab's `jwt` provider checks: size, algorithm, signature, exp, the required claims, the age. Its pages
# are as few as a login needs. `/api/v4/sudo` says whom GitLab's API would act for by the request's parameters.
#
#   gitlab_web.rb PUBLIC-KEY.pem ALGORITHM AUTH-URL
#
# Prints `listening ADDRESS` once it serves. GET /-/events: what it did, as JSON.
ENV['RACK_ENV'] = 'production'
require 'json'
require 'jwt'
require 'omniauth'
require 'puma'
require 'puma/server'
require 'rack'
require 'rack/protection'

PUBLIC, ALGORITHM, AUTH_URL = ARGV
EVENTS = Queue.new

module OmniAuth
  module Strategies
    class Jwt
      include OmniAuth::Strategy
      option :valid_within, 60

      def request_phase
        redirect AUTH_URL
      end

      def claims
        @claims ||= begin
          text = request.params['jwt']
          raise 'too large' if text.bytesize >= 10_000

          key = ALGORITHM.start_with?('RS') ? OpenSSL::PKey::RSA.new(PUBLIC).public_key : OpenSSL::PKey::EC.new(PUBLIC)
          found = ::JWT.decode(text, key, true, { algorithm: ALGORITHM }).first
          %w[name email].each { |it| raise "no #{it}" unless found.key?(it) }
          raise 'no iat' unless found['iat']
          raise 'skewed' if (Time.now.to_i - found['iat']).abs > options.valid_within

          found
        end
      end

      uid { claims['email'] }
      info { { 'name' => claims['name'], 'email' => claims['email'], 'nickname' => claims['nickname'] } }
    end
  end
end

OmniAuth.config.path_prefix = '/users/auth'
OmniAuth.config.logger = Logger.new(IO::NULL)

# A page; JavaScript on it may only be its own.
def page(title, body, status = 200)
  html = "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>#{title}</title></head><body>#{body}</body></html>"
  [status, { 'Content-Type' => 'text/html; charset=utf-8' }, [html]]
end

def go(to)
  [302, { 'Location' => to }, []]
end

# GitLab's page for omniauth_auto_sign_in_with_provider: a form that sends itself.
def on_to_provider(session)
  token = Rack::Protection::AuthenticityToken.token(session)
  page('Sign in', <<~HTML)
    <form id="go" method="post" action="/users/auth/jwt"><input type="hidden" name="authenticity_token" value="#{token}"></form>
    <script>document.getElementById('go').submit()</script>
  HTML
end

def sign_in(request)
  return go('/') if request.session['user']
  return on_to_provider(request.session) unless request.params['auto_sign_in'] == 'false'

  EVENTS << 'login page'
  page('Sign in', '<h1>GitLab</h1><form method="post">Username <input name="login"> Password <input type="password" name="password"></form>')
end

def signed_in(request)
  info = request.env['omniauth.auth']['info']
  EVENTS << "login #{info['nickname']}"
  to = request.session['return_to'] || '/'
  request.session.clear # another session than before: nobody can have planted it
  request.session['user'] = info.to_h
  go(to)
end

# As Rack and Grape read parameters: of a form, or else of JSON, which is what no type means to Grape (of a POST too,
# which Rack takes for a form).
def sudo(request)
  params = request.params
  unless (request.form_data? && request.content_type) || request.parseable_data?
    request.body.rewind
    text = [nil, 'application/json'].include?(request.media_type) ? request.body.read : ''
    found = begin
      text.empty? ? {} : JSON.parse(text)
    rescue JSON::ParserError
      {} # what has no format of its own goes by the form
    end
    params = params.merge(found) if found.is_a?(Hash)
  end
  [200, { 'Content-Type' => 'application/json' }, [{ sudo: params['sudo'], header: request.get_header('HTTP_SUDO') }.to_json]]
rescue StandardError => e
  [400, { 'Content-Type' => 'application/json' }, [{ error: e.message }.to_json]]
end

pages = lambda do |env|
  request = Rack::Request.new(env)
  case request.path
  when '/-/events' then [200, { 'Content-Type' => 'application/json' }, [Array.new(EVENTS.size) { EVENTS.pop }.to_json]]
  when '/api/v4/sudo' then sudo(request)
  when '/users/sign_in' then sign_in(request)
  when '/users/auth/jwt/callback' then env['omniauth.auth'] ? signed_in(request) : page('Not Found', '404', 404)
  when '/users/auth/failure'
    EVENTS << "failure #{request.params['message']}"
    go('/users/sign_in?auto_sign_in=false')
  else
    user = request.session['user']
    unless user
      request.session['return_to'] = request.fullpath
      next go('/users/sign_in')
    end
    page("#{request.path} · GitLab", "<h1>#{request.path}</h1><p>Signed in as #{user['name']} (@#{user['nickname']}, #{user['email']})</p><p>#{Rack::Utils.escape_html(request.fullpath)}</p>")
  end
end

app = Rack::Builder.new do
  use Rack::Session::Cookie, key: '_gitlab_session', secret: 'x' * 64, same_site: :lax, secure: true, httponly: true
  use(Class.new do
    def initialize(app)
      @app = app
    end

    def call(env)
      EVENTS << "#{env['REQUEST_METHOD']} #{env['PATH_INFO']}" unless env['PATH_INFO'] == '/-/events'
      @app.call(env)
    end
  end)
  use OmniAuth::Strategies::Jwt
  run pages
end

server = Puma::Server.new(app.to_app, Puma::Events.null)
server.add_tcp_listener('127.0.0.1', 0)
$stdout.puts "listening 127.0.0.1:#{server.connected_ports.first}"
$stdout.flush
server.run.join
