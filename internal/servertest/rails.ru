# SPDX-License-Identifier: MPL-2.0

# The sessions API on Rails' own token authentication, with its tokens in memory.
require "action_controller"

# Tokens by user. Puma has several threads.
class Tokens
  def initialize(kind) = (@kind, @users, @lock = kind, {}, Mutex.new)

  def open(user)
    @lock.synchronize do
      live = (@users[user] ||= [])
      return live.first if @kind == "shared" && live.any?
      live.clear if @kind == "superseding"
      live.push(SecureRandom.urlsafe_base64(15) + ENV["TOKEN_SUFFIX"]).last
    end
  end

  def close(user, token)
    @lock.synchronize { @kind == "sweeping" ? @users[user].clear : @users[user].delete(token) }
  end

  def user(token) = @lock.synchronize { @users.find { |_, live| live.include?(token) }&.first }
  def size = @lock.synchronize { @users.sum { |_, live| live.size } }
end

TOKENS = Tokens.new(ENV["KIND"])

class ApiController < ActionController::API
  include ActionController::HttpAuthentication::Token::ControllerMethods
  before_action :authenticate, except: :login

  def login
    return head :unauthorized unless params[:password] == ENV["PASSWORD"]
    token = TOKENS.open(params[:user])
    raise "failed after the commit" if ENV["FAILS_AFTER_COMMIT"]
    render json: { auth_token: token, id: params[:user].sum, email: params[:user] }
  end

  def logout
    TOKENS.close(@user, @token)
    head :no_content
  end

  def organizations = render(json: [])

  private

  def authenticate
    authenticate_or_request_with_http_token { |token, _| @user = TOKENS.user(@token = token) }
  end
end

ROUTES = ActionDispatch::Routing::RouteSet.new
ROUTES.draw do
  scope "/api/v1" do
    post "sessions", to: "api#login"
    delete "sessions", to: "api#logout"
    get "organizations", to: "api#organizations"
  end
end

# Logs each request before it is answered.
class Journal
  def initialize(app) = @app = app

  def call(env)
    status, headers, body = begin
      @app.call(env)
    rescue StandardError
      [500, { "Content-Type" => "text/html" }, ["<h1>We're sorry, but something went wrong.</h1>"]]
    end
    line = { method: env["REQUEST_METHOD"], url: env["PATH_INFO"], status: status.to_s, live: TOKENS.size }
    File.write("access.log", "#{line.to_json}\n", mode: "a")
    [status, headers, body]
  end
end

# Sends bytes after each whole answer.
class StrayBytes
  def initialize(app) = @app = app

  def call(env)
    status, _, body = @app.call(env)
    text = body.to_enum.to_a.join
    env["rack.hijack"].call.tap do |socket|
      socket.write("HTTP/1.1 #{status} OK\r\nContent-Type: application/json\r\nContent-Length: #{text.bytesize}\r\n\r\n#{text}#{ENV["STRAY_BYTES"]}")
      socket.read # until the client hangs up
      socket.close
    end
    [200, {}, []]
  end
end

use StrayBytes unless ENV["STRAY_BYTES"].to_s.empty?
use Journal
run ROUTES
