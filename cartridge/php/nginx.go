package php

// nginxHTTP tells what the client used to reach the balancer; without one,
// what it used to reach us.
const nginxHTTP = `	map $http_x_forwarded_proto $client_scheme {
		default $scheme;
		http http;
		https https;
	}
	map $client_scheme $client_https {
		default "";
		https on;
	}
	map $http_x_forwarded_proto $client_port {
		default $server_port;
		http 80;
		https 443;
	}
`

// In nginxServer:
//   - the script has to exist before php-fpm is asked, else /upload.png/x.php
//     could run a picture;
//   - try_files forgets $fastcgi_path_info, hence the copy;
//   - $realpath_root is the release's folder with all links resolved, so that no
//     cache of php's ever answers with an older release;
//   - HTTP_PROXY would be read by HTTP clients of the application as their
//     proxy, and any client could set it by the header Proxy;
//   - what is PHP's in any other spelling is never served as text.
const nginxServer = `		location ~ [^/]\.php(?:/|$) {
			fastcgi_split_path_info ^(.+?\.php)(/.*)?$;
			set $path_info $fastcgi_path_info;
			try_files $fastcgi_script_name =404;
			fastcgi_pass unix:fpm.sock;
			fastcgi_read_timeout 75s;
			fastcgi_buffers 16 16k;
			fastcgi_buffer_size 32k;
			fastcgi_param GATEWAY_INTERFACE CGI/1.1;
			fastcgi_param SERVER_SOFTWARE nginx;
			fastcgi_param SERVER_PROTOCOL $server_protocol;
			fastcgi_param SERVER_NAME $host;
			fastcgi_param SERVER_ADDR $server_addr;
			fastcgi_param SERVER_PORT $client_port;
			fastcgi_param REMOTE_ADDR $remote_addr;
			fastcgi_param REMOTE_PORT $remote_port;
			fastcgi_param REQUEST_SCHEME $client_scheme;
			fastcgi_param HTTPS $client_https if_not_empty;
			fastcgi_param REQUEST_METHOD $request_method;
			fastcgi_param REQUEST_URI $request_uri;
			fastcgi_param QUERY_STRING $query_string;
			fastcgi_param CONTENT_TYPE $content_type;
			fastcgi_param CONTENT_LENGTH $content_length;
			fastcgi_param DOCUMENT_ROOT $realpath_root;
			fastcgi_param DOCUMENT_URI $document_uri;
			fastcgi_param SCRIPT_NAME $fastcgi_script_name;
			fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
			fastcgi_param PATH_INFO $path_info;
			fastcgi_param REDIRECT_STATUS 200;
			fastcgi_param HTTP_PROXY "";
		}
		location ~* \.(?:php[0-9s]?|phtml|phar)$ {
			return 404;
		}
`
