# A Rails app in production with sessions in cookies and the route from the documents. Prints the port that it listens on.
require "logger" # Rails 6.1 leaves that to others.
require "rails"
require "action_controller/railtie"
require "puma"
require "puma/server"

# u1 owns the workspaces, u2 is a reader.
User = Struct.new(:id) do
  def may_read?(workspace)
    %w[acme team-1.v2~x_y].include?(workspace) && %w[u1 u2].include?(id)
  end

  def may_write?(workspace)
    id == "u1" && may_read?(workspace)
  end
end

class App < Rails::Application
  config.eager_load = false
  config.secret_key_base = "of a test" * 8
  config.logger = Logger.new($stderr)
  # What apps in production have, and what the broker has to get through.
  config.hosts << "app.example"
  config.force_ssl = true
  class_eval File.read("production.rb")
end

class ApplicationController < ActionController::Base
  before_action :authenticate_user!

  def current_user
    session[:user] && User.new(session[:user])
  end

  def authenticate_user!
    redirect_to "/login" unless current_user
  end
end

class SessionsController < ApplicationController
  skip_before_action :authenticate_user!

  def show
    session[:user] = params[:user]
    head :no_content
  end
end

require "./tidings_controller"

App.initialize!
App.routes.draw do
  get "/login/:user", to: "sessions#show"
  instance_eval File.read("routes.rb")
end

server = Puma::Server.new(App)
puts "port #{server.add_tcp_listener("127.0.0.1", 0).addr[1]}"
$stdout.flush
server.run.join
